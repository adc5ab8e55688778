// The data plane's counters, mapped read-only (dataplane/southbound/counters.h).
//
// Reading disturbs no worker. Any thread; each value is one 64-bit load, so a sum over workers is
// as of slightly different moments. The map stays valid after the data plane has ended.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "dataplane/southbound/counters.h"

namespace dr::control {

class CountersMap {
  public:
    // Throws MemfdError if it is not a counters memfd of this version and of `uuid`.
    CountersMap(const FileDescriptor& fd, std::uint64_t bytes,
                const std::array<std::uint8_t, 16>& uuid);
    CountersMap(const CountersMap&) = delete;
    CountersMap& operator=(const CountersMap&) = delete;
    ~CountersMap();

    struct Exit {
        std::string name;
        std::string help;
        std::uint64_t count;
    };
    [[nodiscard]] std::vector<Exit> exits() const;
    // By number; empty: there is none.
    [[nodiscard]] std::string exit_name(unsigned number) const;
    [[nodiscard]] std::string port_name(unsigned number) const;
    // Every counter by name: exits, "port.NAME.rx_packets", "worker.N.bursts", …
    [[nodiscard]] std::map<std::string, std::uint64_t> all() const;
    // The watchdog's findings about ports and workers; none from an older data plane.
    struct PartHealth {
        std::string name;  // of a port; a worker's number
        bool worker = false;
        southbound::Health health;
    };
    [[nodiscard]] std::vector<PartHealth> health() const;
    // Sums over workers; zeros for a tunnel beyond the table.
    [[nodiscard]] southbound::TunnelCounters tunnel(std::uint32_t tunnel_id) const;
    [[nodiscard]] const std::string& incarnation() const { return incarnation_; }

  private:
    [[nodiscard]] const southbound::WorkerBlock& worker(std::uint32_t number) const;
    void check(const std::array<std::uint8_t, 16>& uuid) const;

    const std::uint8_t* base_ = nullptr;
    std::size_t size_ = 0;
    southbound::CountersHeader header_{};
    std::string incarnation_;
};

// "0f1e2d3c-…"
std::string uuid_text(const std::array<std::uint8_t, 16>& uuid);

}  // namespace dr::control
