// Checks that a file's and an attachment's configuration share, and what urd derives from either.
#include "ur/config.h"

#include <algorithm>

#include "base/printable.h"
#include "base/unicast.h"

namespace dr::ur {

namespace {

using Errors = std::vector<std::string>;

std::string join(const Errors& messages) {
    std::string out;
    for (const auto& m : messages) out += (out.empty() ? "" : "\n") + m;
    return out;
}

// A file may be of any length; what is said of it is not.
std::vector<std::string> all_printable(std::vector<std::string> messages) {
    constexpr std::size_t kMost = 50;
    constexpr std::size_t kMostBytes = 1000;
    const std::size_t count = messages.size();
    if (count > kMost) {
        messages.resize(kMost);
        messages.push_back("and " + std::to_string(count - kMost) + " more");
    }
    for (auto& message : messages) message = dr::shown(message, kMostBytes);
    return messages;
}

}  // namespace

bool is_name(const std::string& text, std::size_t most) {
    const auto alphanumeric = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    };
    return !text.empty() && text.size() <= most && alphanumeric(text.front()) &&
           std::all_of(text.begin(), text.end(),
                       [&](char c) { return alphanumeric(c) || c == '.' || c == '-'; });
}

std::string quoted(const std::string& text) {
    constexpr std::size_t kMost = 64;
    std::string out(1, '"');
    out.append(text, 0, kMost);
    out += text.size() > kMost ? "...\"" : "\"";
    return out;
}

std::string check_prefix(const IpPrefix& prefix) {
    const auto block = reserved_block(prefix);
    if (!block.empty())
        return to_string(prefix) + " overlaps " + std::string(block) +
               "; a site's prefix is of addresses that can be routed";
    const unsigned least = prefix.address.family == 4 ? kShortestPrefix4 : kShortestPrefix6;
    if (prefix.length < least)
        return to_string(prefix) + " is too large; a site's prefix is at least /" +
               std::to_string(least);
    return {};
}

unsigned line_number(Config& config, const std::string& name) {
    auto it = std::find(config.lines.begin(), config.lines.end(), name);
    if (it == config.lines.end()) {
        it = std::find(config.lines.begin(), config.lines.end(), std::string());
        if (it == config.lines.end()) it = config.lines.emplace(it);
        *it = name;
    }
    return static_cast<unsigned>(it - config.lines.begin());
}

std::string set_line_number(Config& config, const std::string& name, std::uint64_t number) {
    if (name.empty()) return "has no line";
    if (number >= kMaxLines)
        return "line " + name + " has number " + std::to_string(number) + "; must be at most " +
               std::to_string(kMaxLines - 1);
    if (std::find(config.lines.begin(), config.lines.end(), name) != config.lines.end())
        return "line " + name + " stands twice";
    if (config.lines.size() <= number) config.lines.resize(number + 1);
    std::string& at = config.lines[number];
    if (!at.empty()) return "lines " + at + " and " + name + " have the same number";
    at = name;
    return {};
}

ConfigError::ConfigError(std::vector<std::string> messages)
    : std::runtime_error(join(all_printable(messages))),
      messages_(all_printable(std::move(messages))) {}

std::uint16_t Config::mtu() const {
    std::uint16_t least = tunnels.empty() ? kMinMtu : kMaxMtu;
    for (const auto& t : tunnels) least = std::min(least, t.mtu);
    return least;
}

unsigned Config::outer_mtu() const {
    unsigned most = kEthernetMtu;
    for (const auto& t : tunnels)
        most = std::max(most, t.mtu + outer_overhead(t.remote.family, t.udp));
    return most;
}

void assign_devices(Config& config, const std::map<std::string, std::string>& devices) {
    Errors errors;
    for (const auto& [line, device] : devices) {
        bool used = false;
        for (auto& t : config.tunnels) {
            if (t.line != line) continue;
            t.device = device;
            used = true;
        }
        if (!used)
            errors.push_back("--line " + line + "=" + device +
                             ": no tunnel has this line; must be one of the configuration's");
    }
    for (std::size_t i = 0; i < config.tunnels.size(); ++i)
        if (config.tunnels[i].device.empty())
            errors.push_back("tunnels[" + std::to_string(i) + "].device: is missing; name the " +
                             "line's device there or with --line " + config.tunnels[i].line +
                             "=DEVICE");
    if (!errors.empty()) throw ConfigError(std::move(errors));
}

}  // namespace dr::ur
