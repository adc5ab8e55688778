#include "dataplane/config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "base/printable.h"
#include "dataplane/config/config_port.h"
#include "dataplane/config/config_reader.h"
#include "dataplane/southbound/protocol.h"

namespace dr {

using nlohmann::json;

namespace {

constexpr unsigned kMaxWorkers = Tables::kMaxWorkers;
constexpr unsigned kMaxLivenessThreads = 8;
// What an mbuf takes besides its data: the structure, mempool header and alignment.
constexpr std::uint64_t kMbufOverhead = 320;
// Queues, device state, EAL itself.
constexpr std::uint64_t kFixedMemory = 48ULL << 20;

void read_lcores(ObjectReader& reader, Config* config) {
    reader.each("lcores", [&](const json& element, const std::string&) {
        if (element.is_number_unsigned() && element.get<std::uint64_t>() < 4096)
            return config->lcores.push_back(element.get<unsigned>());
        reader.fail("lcores", "must be CPU numbers, the main thread's first: [0, 1]");
    });
    if (!config->lcores.empty() && config->lcores.size() != config->workers + 1)
        reader.fail("lcores",
                    fmt::format("has {} CPUs; {} are needed: the main thread's, then one "
                                "for each of {} workers",
                                config->lcores.size(), config->workers + 1, config->workers));
}

void read_idle(ObjectReader& reader, Config* config) {
    std::string idle = "sleep";
    reader.read("idle", &idle);
    if (idle != "sleep" && idle != "poll")
        reader.fail("idle", fmt::format("must be \"sleep\" or \"poll\", not \"{}\"", idle));
    config->sleep_when_idle = idle == "sleep";
}

void read_capacity(const json& value, const std::string& path, Capacity* c, Errors& errors) {
    ObjectReader reader(value, path, errors);
    constexpr std::uint64_t kIndexes = 1U << 28;  // of a lookup result
    reader.read("subscribers", &c->subscribers, 2, kIndexes);
    reader.read("tunnels", &c->tunnels, 2, kMaxTunnelSlots);
    reader.read("maps", &c->maps, 2, kIndexes);
    reader.read("next_hops", &c->next_hops, 2, 65'535);
    reader.read("prefixes4", &c->prefixes4, 2, kIndexes);
    reader.read("prefixes6", &c->prefixes6, 2, kIndexes);
    reader.read("groups4", &c->groups4, 2, kIndexes >> 5);
    reader.read("groups6", &c->groups6, 2, kIndexes >> 5);
    reader.finish();
}

void read_liveness(const json& value, const std::string& path, Config::Liveness* liveness,
                   Errors& errors) {
    ObjectReader reader(value, path, errors);
    reader.read("threads", &liveness->threads, 1, kMaxLivenessThreads);
    reader.read("tunnels", &liveness->tunnels, 1, kMaxTunnelSlots);
    reader.finish();
}

// What concerns several ports at once.
void check_ports(const Config& config, Errors& errors) {
    const auto clash = [&](std::size_t i, std::size_t j, const char* key,
                           const std::string& value) {
        errors.push_back(
            fmt::format("ports[{}].{}: \"{}\" is ports[{}]'s already", j, key, value, i));
    };
    for (std::size_t j = 0; j < config.ports.size(); ++j) {
        const PortConfig& b = config.ports[j];
        for (std::size_t i = 0; i < j; ++i) {
            const PortConfig& a = config.ports[i];
            if (!b.name.empty() && a.name == b.name) clash(i, j, "name", b.name);
            if (!b.interface.empty() && a.interface == b.interface)
                clash(i, j, "interface", b.interface);
            if (!b.device.empty() && a.device == b.device) clash(i, j, "device", b.device);
            if (!b.tx.empty() && a.tx == b.tx) clash(i, j, "tx", b.tx);
        }
    }
}

void check_memory(const Config& config, Errors& errors) {
    std::uint16_t largest = 1500;
    for (const PortConfig& port : config.ports)
        largest = std::max(largest, port.mtu.value_or(1500));
    const std::uint64_t bytes =
        kFixedMemory + config.mbufs * (mbuf_data_room(largest) + kMbufOverhead);
    const std::uint64_t needed = (bytes >> 20) + 1;
    if (config.memory_mib < needed)
        errors.push_back(
            fmt::format("memory_mib: {} is too little for {} mbufs of MTU {}; {} at "
                        "least, or fewer mbufs",
                        config.memory_mib, config.mbufs, largest, needed));
}

}  // namespace

std::uint16_t mbuf_data_room(std::uint16_t largest_mtu) {
    // Headroom, then the frame with room for two VLAN tags and its FCS; 2 KiB at least, as drivers
    // like it.
    constexpr unsigned kHeadroom = 128;
    constexpr unsigned kLinkLayer = 14 + 8 + 4;
    const unsigned frame = std::max(2048U, (largest_mtu + kLinkLayer + 63U) & ~63U);
    return static_cast<std::uint16_t>(kHeadroom + frame);
}

namespace {

// A file may be of any length; what is said of it is not.
void bound(Errors* errors) {
    constexpr std::size_t kMost = 50;
    constexpr std::size_t kMostBytes = 1000;
    const std::size_t count = errors->size();
    if (count > kMost) {
        errors->resize(kMost);
        errors->push_back(fmt::format("and {} more", count - kMost));
    }
    for (auto& error : *errors) error = shown(error, kMostBytes);
}

bool read_config(std::string_view text, Config* config, Errors* errors) {
    const json root = json::parse(text, nullptr, false);
    if (root.is_discarded()) {
        errors->push_back(syntax_error(text));
        return false;
    }
    ObjectReader reader(root, "", *errors);
    if (!root.is_object()) return false;
    config->socket = southbound::kDefaultSocket;
    reader.read("socket", &config->socket);
    if (config->socket.empty() || config->socket.size() > 107)
        reader.fail("socket", "must be a path of 1 to 107 bytes, as the kernel demands");
    reader.read("socket_group", &config->socket_group);
    if (reader.has("socket_group") && config->socket_group.empty())
        reader.fail("socket_group", "must be the name of a group, such as \"drd\"");
    reader.read("workers", &config->workers, 1, kMaxWorkers);
    read_lcores(reader, config);
    read_idle(reader, config);
    reader.read("memory_mib", &config->memory_mib, 64, 1U << 20);
    reader.read("mbufs", &config->mbufs, 1024, 1U << 24);
    reader.read("measure_stages", &config->measure_stages);
    if (const json* capacity = reader.find("capacity"))
        read_capacity(*capacity, "capacity", &config->capacity, *errors);
    if (const json* liveness = reader.find("liveness"))
        read_liveness(*liveness, "liveness", &config->liveness, *errors);
    reader.each("ports", [&](const json& element, const std::string& path) {
        config->ports.push_back(read_port(element, path, *errors));
    });
    if (config->ports.empty())
        reader.fail("ports", "at least one port is needed: [{\"name\": \"up0\", ...}]");
    if (config->ports.size() > kMaxPorts)
        reader.fail("ports",
                    fmt::format("{} are too many; {} at most", config->ports.size(), kMaxPorts));
    reader.finish();
    check_ports(*config, *errors);
    check_memory(*config, *errors);
    return errors->empty();
}

}  // namespace

bool parse_config(std::string_view text, Config* config, Errors* errors) {
    const bool good = read_config(text, config, errors);
    bound(errors);
    return good;
}

bool load_config(const std::string& path, Config* config, Errors* errors) {
    std::ifstream file(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    if (!file.good() && text.empty()) {
        errors->push_back("cannot be read, or is empty");
        return false;
    }
    return parse_config(text, config, errors);
}

}  // namespace dr
