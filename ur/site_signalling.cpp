// Puts attachments in force, and says what became of them.
#include "ur/site_signalling.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <system_error>

#include "process/paths.h"
#include "ur/log.h"

namespace dr::ur {

namespace {

// Where the tunnels' keys are kept, written as root: nobody else may put a link in a file's place.
void make_state_directory(const std::string& path) {
    std::error_code failed;
    std::filesystem::create_directories(process::directory_of(path), failed);
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        throw std::system_error(errno, std::generic_category(), "--state " + path);
    const std::string why = process::who_else_may_change(path, ::geteuid());
    if (!why.empty()) throw std::runtime_error("--state " + path + ": " + why);
}

SignallingOptions make_options(const Options& options) {
    make_state_directory(options.state);
    SignallingOptions out;
    out.cache = options.state + "/attachment";
    for (const auto& [line, device] : line_devices(options.lines)) out.devices.push_back(device);
    out.version = DR_VERSION;
    out.fallback_after = std::chrono::seconds(options.fallback_after);
    std::random_device random;
    out.incarnation = std::uint64_t{random()} << 32 | random();
    return out;
}

std::map<std::string, std::string> checked(std::map<std::string, std::string> devices) {
    if (devices.empty()) throw ConfigError({"--line NAME=DEVICE is required, once for each line"});
    return devices;
}

template <typename Drs>
std::vector<IpAddress> addresses_of(const Drs& drs) {
    std::vector<IpAddress> out;
    for (const auto& dr : drs)
        for (const auto& place : dr.addresses())
            if (const IpAddress address = address_in(place); address.family != 0)
                out.push_back(address);
    return out;
}

}  // namespace

SiteSignalling::SiteSignalling(v1::Credentials credentials, const Options& options, Router& router)
    : devices_(checked(line_devices(options.lines))),
      translator_(devices_),
      router_(router),
      subscriber_(credentials.subscriber()),
      drs_(addresses_of(credentials.drs())),
      attacher_(std::move(credentials), make_options(options),
                [this](const v1::Attachment& a, Source source) { return apply(a, source); }) {
    router_.set_lines(devices_);
    router_.on_better_lines([this] { attacher_.try_now(); });
}

void SiteSignalling::start() {
    tell_lines();
    attacher_.start();
}

void SiteSignalling::renew(v1::Credentials credentials) {
    if (credentials.subscriber() != subscriber_)
        throw std::runtime_error("they are of subscriber " + ur::quoted(credentials.subscriber()) +
                                 ", not " + ur::quoted(subscriber_));
    auto drs = addresses_of(credentials.drs());
    attacher_.renew(std::move(credentials));
    drs_ = std::move(drs);
    families_.clear();
    start();
}

std::vector<IpAddress> SiteSignalling::signalling_of(const v1::Attachment& attachment) const {
    std::vector<IpAddress> out = drs_;
    for (const auto& address : addresses_of(attachment.drs())) out.push_back(address);
    const IpAddress peer = address_in(attacher_.status().peer);
    if (peer.family != 0) out.push_back(peer);
    return out;
}

// Going back is a trial, while nobody knows what is wrong: it ends no traffic.
std::string SiteSignalling::keeps_tunnels(const v1::Attachment& attachment) const {
    for (const auto& tunnel : router_.config().tunnels) {
        if (!router_.carries(tunnel) || !router_.up(tunnel)) continue;
        const bool kept = std::any_of(
            attachment.tunnels().begin(), attachment.tunnels().end(), [&](const auto& other) {
                return other.id() == tunnel.id && other.line() == tunnel.line;
            });
        if (!kept)
            return "line " + tunnel.line + " carries traffic over a tunnel that generation " +
                   std::to_string(attachment.generation()) + " does not have";
    }
    return {};
}

void SiteSignalling::put_in_force(const v1::Attachment& attachment, Source source) {
    if (attachment.subscriber().empty() && source == Source::Back) {
        router_.set_signalling(signalling_of(attachment));
        router_.apply(Config{});
        return;
    }
    if (attachment.subscriber() != subscriber_)
        throw ConfigError({std::string("subscriber: ") + ur::quoted(attachment.subscriber()) +
                           " is not " + ur::quoted(subscriber_) + " of the credentials"});
    Config config = translator_.translate(attachment);
    router_.set_signalling(signalling_of(attachment));
    // One from disk loses the prefix and keeps its tunnels: there may be nothing else to go on
    // with.
    if (source == Source::Dr)
        if (auto conflicts = router_.conflicts(config); !conflicts.empty())
            throw ConfigError(std::move(conflicts));
    for (const auto& tunnel : config.tunnels)
        if (tunnel.device.empty())
            say("warning: line %s has no device; name it with --line", tunnel.line.c_str());
    router_.apply(std::move(config));
}

std::string SiteSignalling::apply(const v1::Attachment& attachment, Source source) {
    const auto generation = static_cast<unsigned long long>(attachment.generation());
    if (source == Source::Back)
        if (std::string why = keeps_tunnels(attachment); !why.empty()) return why;
    say("event=attached generation=%llu%s", generation,
        source == Source::Disk   ? " from=disk"
        : source == Source::Back ? " from=before"
                                 : "");
    constexpr int kMostNotes = 16;
    for (int i = 0; i < std::min(attachment.notes_size(), kMostNotes); ++i)
        say("note from the DR: %.200s", attachment.notes(i).c_str());
    const auto refused = [&](const std::string& what) {
        say("error: attachment of generation %llu: %s", generation, what.c_str());
    };
    std::string why;
    try {
        put_in_force(attachment, source);
        in_force_ = attachment;
        return {};
    } catch (const ConfigError& e) {
        constexpr std::size_t kMostErrors = 20;
        for (std::size_t i = 0; i < std::min(e.messages().size(), kMostErrors); ++i)
            refused(e.messages()[i]);
        why = e.what();
    } catch (const std::exception& e) {
        refused(e.what());
        why = e.what();
        restore();
    }
    return "generation " + std::to_string(attachment.generation()) + ": " + why;
}

// The kernel has refused something halfway.
void SiteSignalling::restore() {
    try {
        if (in_force_) put_in_force(*in_force_, Source::Back);
    } catch (const std::exception& e) {
        say("warning: what was before: %s", e.what());
    }
}

// A family that a line has had counts on: a line that is down for a while must not lose its tunnel,
// and with it what is known of the line.
void SiteSignalling::tell_lines() {
    std::vector<v1::Line> lines;
    bool changed = families_.empty();
    for (const auto& [line, device] : devices_) {
        LineFamilies now;
        try {
            now = router_.families(device);
        } catch (const std::exception& e) {
            say("warning: line %s: %s", line.c_str(), e.what());
        }
        LineFamilies& known = families_[line];
        changed = changed || (now.ipv4 && !known.ipv4) || (now.ipv6 && !known.ipv6);
        known = {known.ipv4 || now.ipv4, known.ipv6 || now.ipv6};
        v1::Line& out = lines.emplace_back();
        out.set_name(line);
        out.set_ipv4(known.ipv4);
        out.set_ipv6(known.ipv6);
        for (const auto encapsulation : {v1::GRE, v1::GRE_UDP, v1::AUTO})
            out.add_encapsulations(encapsulation);
    }
    if (changed) attacher_.set_lines(std::move(lines));
}

SignallingView SiteSignalling::view() const {
    const SignallingStatus s = attacher_.status();
    return {true,
            s.connected,
            s.address,
            s.detail,
            s.generation,
            s.cached,
            s.declined.generation(),
            s.declined.why()};
}

}  // namespace dr::ur
