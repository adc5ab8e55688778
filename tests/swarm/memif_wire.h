// The URs' end of a memif port of dr-dataplane: shared memory, so that one process can be thousands
// of URs on a small machine. DPDK's driver as the client; the data plane is the server.
//
// The driver takes the memory away in another thread when the other end vanishes. Whoever is about
// to stop the data plane therefore disconnects first.
#pragma once

#include <array>
#include <functional>
#include <string>

#include "tests/swarm/swarm.h"

struct rte_mbuf;
struct rte_mempool;

namespace dr::swarm {

class MemifWire final : public Wire {
  public:
    // Starts DPDK on this CPU, without huge pages. false and *error when that fails. Once.
    bool open(const std::string& socket, unsigned cpu, std::string* error);
    ~MemifWire() override;

    // From now on poll() tries to reach the data plane until it answers.
    void connect() { wanted_ = true; }
    // Nobody touches the shared memory from here on; what is sent is lost.
    void disconnect();
    [[nodiscard]] bool connected() const { return connected_; }

    // Receives at most a burst and gives each frame to `sink`; the number of frames.
    unsigned poll(Time now, const std::function<void(std::span<const std::uint8_t>)>& sink);
    // Hands over what was committed.
    void flush();
    [[nodiscard]] std::uint64_t lost() const { return lost_; }  // frames: no link, or no room

    std::span<std::uint8_t> frame() override;
    void commit(unsigned size) override;

  private:
    static constexpr unsigned kBurst = 64;

    void try_to_connect(Time now);
    [[nodiscard]] bool link_is_up() const;

    std::uint16_t port_ = 0xffff;
    rte_mempool* pool_ = nullptr;
    rte_mbuf* current_ = nullptr;  // that frame() gave out
    std::array<rte_mbuf*, kBurst> waiting_{};
    unsigned waiting_count_ = 0;
    bool wanted_ = false;
    bool started_ = false;
    bool connected_ = false;
    Time next_try_ = 0;
    std::uint64_t lost_ = 0;
    std::array<std::uint8_t, kMaxFrame> sink_{};  // for frames when there is no buffer
};

}  // namespace dr::swarm
