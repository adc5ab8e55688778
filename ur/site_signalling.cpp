#include "ur/site_signalling.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <system_error>

#include "process/paths.h"

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
    std::random_device random;
    out.incarnation = std::uint64_t{random()} << 32 | random();
    return out;
}

std::map<std::string, std::string> checked(std::map<std::string, std::string> devices) {
    if (devices.empty()) throw ConfigError({"--line NAME=DEVICE is required, once for each line"});
    return devices;
}

}  // namespace

SiteSignalling::SiteSignalling(v1::Credentials credentials, const Options& options, Router& router)
    : devices_(checked(line_devices(options.lines))),
      translator_(devices_),
      router_(router),
      attacher_(std::move(credentials), make_options(options),
                [this](const v1::Attachment& a, bool cached) { return apply(a, cached); }) {
    router_.on_better_lines([this] { attacher_.try_now(); });
}

void SiteSignalling::start() {
    tell_lines();
    attacher_.start();
}

std::string SiteSignalling::apply(const v1::Attachment& attachment, bool cached) {
    std::fprintf(stderr, "urd: event=attached generation=%llu%s\n",
                 static_cast<unsigned long long>(attachment.generation()),
                 cached ? " from=disk" : "");
    for (const auto& note : attachment.notes())
        std::fprintf(stderr, "urd: note from the DR: %s\n", note.c_str());
    try {
        Config config = translator_.translate(attachment);
        for (const auto& tunnel : config.tunnels)
            if (tunnel.device.empty())
                std::fprintf(stderr, "urd: warning: line %s has no device; name it with --line\n",
                             tunnel.line.c_str());
        router_.apply(std::move(config));
        return {};
    } catch (const std::exception& e) {
        std::fprintf(stderr, "urd: error: attachment of generation %llu: %s\n",
                     static_cast<unsigned long long>(attachment.generation()), e.what());
        return "generation " + std::to_string(attachment.generation()) + ": " + e.what();
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
            std::fprintf(stderr, "urd: warning: line %s: %s\n", line.c_str(), e.what());
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
    return {true, s.connected, s.address, s.detail, s.generation, s.cached};
}

}  // namespace dr::ur
