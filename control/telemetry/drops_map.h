// The data plane's samples of dropped packets, mapped read-only (dataplane/southbound/drops.h).
//
// Reading disturbs no worker. Any thread. The map stays valid after the data plane has ended. The
// data plane may write each number at any time, so every index and length is checked with each use.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/file_descriptor.h"
#include "dataplane/southbound/drops.h"

namespace dr::control {

class DropsMap {
  public:
    // Throws MemfdError if it is not a drops memfd of this version and of `uuid`.
    DropsMap(const FileDescriptor& fd, std::uint64_t bytes,
             const std::array<std::uint8_t, 16>& uuid);
    DropsMap(const DropsMap&) = delete;
    DropsMap& operator=(const DropsMap&) = delete;
    ~DropsMap();

    struct Sample {
        std::uint64_t at_ns;  // CLOCK_MONOTONIC
        southbound::DropState packet;
    };
    // Samples of all workers for an exit, newest first; none for an unknown exit. A sample that is
    // being written at this moment is left out.
    [[nodiscard]] std::vector<Sample> samples(std::uint32_t exit) const;

    struct OfTunnel {
        std::map<unsigned, std::uint64_t> by_exit;  // numbers of exits
        std::uint64_t others = 0;                   // for further reasons
    };
    // Sums over workers; nothing for a tunnel beyond the table.
    [[nodiscard]] OfTunnel tunnel(std::uint32_t tunnel_id) const;

  private:
    void check(const std::array<std::uint8_t, 16>& uuid);
    [[nodiscard]] std::uint64_t at_ns(std::uint64_t tsc) const;

    const std::uint8_t* base_ = nullptr;
    std::uint64_t size_ = 0;
    // Checked copies: the data plane may write the header at any time.
    std::uint64_t samples_ = 0, sample_stride_ = 0, tunnels_ = 0, tunnel_stride_ = 0, tsc_hz_ = 0;
    std::uint32_t workers_ = 0, exits_ = 0, tunnel_slots_ = 0;
};

}  // namespace dr::control
