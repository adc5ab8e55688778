// Maps the counters memfd and sums counters over workers.
#include "control/telemetry/counters_map.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "control/telemetry/memfd.h"

namespace dr::control {
namespace {

namespace sb = southbound;

std::uint64_t load(const std::uint64_t& counter) {
    return __atomic_load_n(&counter, __ATOMIC_RELAXED);
}

template <std::size_t N>
std::string text(const std::array<char, N>& field) {
    return {field.data(), ::strnlen(field.data(), N)};
}

}  // namespace

std::string uuid_text(const std::array<std::uint8_t, 16>& uuid) {
    std::string out;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
        out += fmt::format("{:02x}", uuid[i]);
    }
    return out;
}

CountersMap::CountersMap(const FileDescriptor& fd, std::uint64_t bytes,
                         const std::array<std::uint8_t, 16>& uuid)
    : size_(bytes), incarnation_(uuid_text(uuid)) {
    base_ = map_memfd(fd, bytes, sizeof header_, "counters");
    std::memcpy(&header_, base_, sizeof header_);
    try {
        check(uuid);
    } catch (...) {
        ::munmap(const_cast<std::uint8_t*>(base_), size_);
        throw;
    }
}

CountersMap::~CountersMap() {
    ::munmap(const_cast<std::uint8_t*>(base_), size_);
}

void CountersMap::check(const std::array<std::uint8_t, 16>& uuid) const {
    const auto fits = [&](std::uint64_t offset, std::uint64_t stride, std::uint64_t count) {
        return offset % 8 == 0 && stride % 8 == 0 && offset <= size_ &&
               (count == 0 || stride <= (size_ - offset) / count);
    };
    if (header_.magic != sb::kCountersMagic || header_.version != 1)
        throw MemfdError("data plane: counters of an unknown layout; use programs of one build");
    const bool sound =
        header_.uuid == uuid && header_.exits <= sb::kExitSlots &&
        header_.ports <= sb::kPortSlots &&
        fits(header_.exit_names, sizeof(sb::ExitName), header_.exits) &&
        fits(header_.port_names, sizeof(sb::PortName), header_.ports) &&
        header_.worker_stride >= sizeof(sb::WorkerBlock) &&
        header_.worker_blocks % alignof(sb::WorkerBlock) == 0 &&
        header_.worker_stride % alignof(sb::WorkerBlock) == 0 &&
        fits(header_.worker_blocks, header_.worker_stride, header_.workers) &&
        header_.tunnel_stride / sizeof(sb::TunnelCounters) >= header_.tunnel_slots &&
        fits(header_.tunnel_blocks, header_.tunnel_stride, header_.workers) &&
        fits(header_.health, sizeof(sb::Health), std::uint64_t{header_.ports} + header_.workers);
    if (!sound) throw MemfdError("data plane: its counters contradict themselves");
}

const sb::WorkerBlock& CountersMap::worker(std::uint32_t number) const {
    return *reinterpret_cast<const sb::WorkerBlock*>(base_ + header_.worker_blocks +
                                                     number * header_.worker_stride);
}

std::vector<CountersMap::Exit> CountersMap::exits() const {
    std::vector<Exit> out;
    const auto* names = reinterpret_cast<const sb::ExitName*>(base_ + header_.exit_names);
    for (std::uint32_t e = 0; e < header_.exits; ++e) {
        Exit exit{text(names[e].name), text(names[e].help), 0};
        for (std::uint32_t w = 0; w < header_.workers; ++w) exit.count += load(worker(w).exits[e]);
        out.push_back(std::move(exit));
    }
    return out;
}

std::string CountersMap::exit_name(unsigned number) const {
    if (number >= header_.exits) return {};
    return text(reinterpret_cast<const sb::ExitName*>(base_ + header_.exit_names)[number].name);
}

std::string CountersMap::port_name(unsigned number) const {
    if (number >= header_.ports) return {};
    return text(reinterpret_cast<const sb::PortName*>(base_ + header_.port_names)[number].name);
}

std::map<std::string, std::uint64_t> CountersMap::all() const {
    std::map<std::string, std::uint64_t> out;
    for (const auto& exit : exits()) out[exit.name] = exit.count;
    const auto* names = reinterpret_cast<const sb::PortName*>(base_ + header_.port_names);
    for (std::uint32_t p = 0; p < header_.ports; ++p) {
        const std::string prefix = "port." + text(names[p].name) + ".";
        for (std::uint32_t w = 0; w < header_.workers; ++w) {
            const sb::PortCounters& c = worker(w).ports[p];
            out[prefix + "rx_packets"] += load(c.rx_packets);
            out[prefix + "rx_bytes"] += load(c.rx_bytes);
            out[prefix + "tx_packets"] += load(c.tx_packets);
            out[prefix + "tx_bytes"] += load(c.tx_bytes);
        }
    }
    for (const PartHealth& part : health()) {
        const std::string prefix = (part.worker ? "worker." : "port.") + part.name + ".";
        out[prefix + "stalls"] = part.health.stalls;
        out[prefix + "recoveries"] = part.health.repairs;
        if (part.worker) continue;
        out[prefix + "repair_attempts"] = part.health.attempts;
        out[prefix + "buffers_lost"] = part.health.buffers_lost;
        out[prefix + "rx_missed"] = part.health.missed;
    }
    for (std::uint32_t w = 0; w < header_.workers; ++w) {
        const sb::WorkerCounters& c = worker(w).worker;
        const std::string prefix = fmt::format("worker.{}.", w);
        out[prefix + "busy_cycles"] = load(c.busy_cycles);
        out[prefix + "bursts"] = load(c.bursts);
        out[prefix + "idle_polls"] = load(c.idle_polls);
        out[prefix + "sleeps"] = load(c.sleeps);
        for (std::size_t s = 0; s < c.stage_cycles.size(); ++s)
            out[fmt::format("{}stage_cycles.{}", prefix, s)] = load(c.stage_cycles[s]);
    }
    return out;
}

std::vector<CountersMap::PartHealth> CountersMap::health() const {
    std::vector<PartHealth> out;
    if (header_.health == 0) return out;
    const auto* names = reinterpret_cast<const sb::PortName*>(base_ + header_.port_names);
    const auto* rows = reinterpret_cast<const sb::Health*>(base_ + header_.health);
    for (std::uint32_t i = 0; i < header_.ports + header_.workers; ++i) {
        PartHealth& part = out.emplace_back();
        part.worker = i >= header_.ports;
        part.name = part.worker ? std::to_string(i - header_.ports) : text(names[i].name);
        const sb::Health& from = rows[i];
        part.health = {load(from.state),        load(from.fault),   load(from.since_ns),
                       load(from.stalls),       load(from.repairs), load(from.attempts),
                       load(from.buffers_lost), load(from.missed)};
    }
    return out;
}

sb::TunnelCounters CountersMap::tunnel(std::uint32_t tunnel_id) const {
    sb::TunnelCounters sum{};
    const std::uint32_t slot = tunnel_id & 0xffffff;
    if (slot >= header_.tunnel_slots) return sum;
    for (std::uint32_t w = 0; w < header_.workers; ++w) {
        const auto& c = reinterpret_cast<const sb::TunnelCounters*>(
            base_ + header_.tunnel_blocks + w * header_.tunnel_stride)[slot];
        sum.downlink_packets += load(c.downlink_packets);
        sum.downlink_bytes += load(c.downlink_bytes);
        sum.uplink_packets += load(c.uplink_packets);
        sum.uplink_bytes += load(c.uplink_bytes);
    }
    return sum;
}

}  // namespace dr::control
