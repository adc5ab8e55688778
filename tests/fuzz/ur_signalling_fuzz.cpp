// What urd takes from a DR and from its own disk: attachments, the file that it keeps the last one
// in, and its credentials.
//
// The first byte of an input chooses: 0, two attachments one after the other (a byte of length in
// units of 8 bytes, then both); 1, a cache file; 2, a cache file whose digest is made right; 3, a
// file of credentials. An attachment that is accepted is within all bounds, and lines keep their
// slots; what a cache file gives is what was put into it.
#include <openssl/evp.h>

#include <memory>
#include <set>

#include "base/printable.h"
#include "base/unicast.h"
#include "tests/fuzz/fuzz.h"
#include "ur/attachment.h"
#include "ur/signalling/cache.h"
#include "ur/signalling/credentials.h"
#include "ur/site.h"

using namespace dr;
using namespace dr::ur;
using fuzz::require;

namespace {

using Slots = std::map<std::string, unsigned>;

void check_classes(const Config& config) {
    require(!config.classes.empty() && config.classes.size() <= kMaxClasses, "classes");
    for (const auto& klass : config.classes) {
        std::set<unsigned> lines;
        require(!klass.tiers.empty(), "a class without a tier");
        for (const auto& tier : klass.tiers)
            for (const auto& line : tier)
                require(line.line < kMaxLines && line.weight != 0 && lines.insert(line.line).second,
                        "a line of a class");
    }
}

Slots check_accepted(const Config& config, const Slots& before) {
    require(!config.prefixes.empty() && config.prefixes.size() <= kMaxPrefixes, "prefixes");
    require(config.tunnels.size() <= kMaxLines && config.lines.size() <= UR_SLOTS, "tunnels");
    check_classes(config);
    for (const auto& prefix : config.prefixes)
        require(reserved_block(prefix).empty() && prefix.length >= 8,
                "a prefix that nobody can have");
    for (const auto& line : config.lines)
        require(line.empty() || is_name(line, kMaxLineName), "a line's name");
    std::set<unsigned> numbers;
    std::set<unsigned> used;
    Slots slots;
    for (const auto& t : config.tunnels) {
        for (const auto* end : {&t.local, &t.remote})
            require(end->family == 0 || not_unicast(*end).empty(), "an end");
        require(is_name(t.line, kMaxLineName) && t.id != 0 && t.remote.family != 0, "a tunnel");
        require(t.keys.size() <= 2 && (t.keys.empty() || t.number < kMaxLines), "keys");
        require(t.mtu >= kMinMtu && t.mtu <= kMaxMtu, "MTU");
        require(t.slot < UR_SLOTS && used.insert(t.slot).second, "slots");
        require(numbers.insert(t.number).second, "numbers");
        const auto had = before.find(t.line);
        require(had == before.end() || had->second == t.slot, "a line has changed its slot");
        slots[t.line] = t.slot;
    }
    const auto site = std::make_unique<ur_site>();
    fill_site(config, *site);
    publish_buckets(plan_buckets(config, everywhere(0xffff)), *site);
    return slots;
}

void attach(std::span<const std::uint8_t> bytes, Translator& translator, Slots& slots) {
    v1::Attachment attachment;
    if (!attachment.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    try {
        slots = check_accepted(translator.translate(attachment), slots);
    } catch (const ConfigError& e) {
        require(!e.messages().empty(), "refused without a word");
        for (const auto& message : e.messages()) {
            const bool last = &message == &e.messages().back();
            if (last && message.starts_with("and ") && message.ends_with(" more")) continue;
            require(message.find(": ") != std::string::npos && message == printable(message) &&
                        message.size() < 1000,
                    "no place, or not to be shown, in: " + message);
        }
    }
}

std::string digest_of(std::string_view bytes) {
    std::string out(32, '\0');
    EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr,
               EVP_sha256(), nullptr);
    return out;
}

void load(const std::string& file) {
    const int fd = fuzz::memory_file(
        {reinterpret_cast<const std::uint8_t*>(file.data()), file.size()}, file.size());
    AttachmentCache cache("/proc/self/fd/" + std::to_string(fd));
    std::string why;
    const auto attachment = cache.load("site", why);
    ::close(fd);
    require(attachment.has_value() == why.empty(), "neither an attachment nor a reason: " + why);
    if (!attachment) return;
    require(attachment->subscriber() == "site", "another's attachment");
    require(file.substr(0, 32) == digest_of(std::string_view(file).substr(32)), "a wrong digest");
}

void read(const std::string& text) {
    try {
        const auto credentials = parse_credentials(text, "FILE");
        require(!credentials.subscriber().empty() && !credentials.drs().empty() &&
                    !credentials.private_key().empty(),
                "credentials that lack something");
    } catch (const std::runtime_error& e) {
        require(std::string_view(e.what()).starts_with("FILE: "), e.what());
    }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    google::protobuf::SetLogHandler(nullptr);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const unsigned choice = input.take<std::uint8_t>() % 4;
    if (choice == 0) {
        Translator translator({{"a", "eth0"}});
        Slots slots;
        const std::size_t first = std::size_t{input.take<std::uint8_t>()} * 8;
        attach(input.bytes(first), translator, slots);
        attach(input.rest(), translator, slots);
    } else if (choice == 3) {
        read(input.text());
    } else {
        load(choice == 1 ? input.text() : digest_of(input.text()) + input.text());
    }
    return 0;
}
