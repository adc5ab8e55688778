// The watchdog: checks AF_XDP ports and workers, reports faults, and repairs ports while everything
// else goes on.
//
//   a port   its interface is gone, or another one of the same name; its steering program was
//            detached; a queue's rings show that nothing arrives or leaves (port_judge.h)
//   a worker its loop has not turned for kWorkerMs. That is told, and nothing is done about it.
//
// Repair: a detached program is attached again. For every other fault the device is replaced:
//
//   pause     workers neither receive from the port nor send to it (drop.transmit)
//   close     when no worker is in the middle of it; buffers in its rings go back to the pool
//   open      when the interface is there and up; again after a pause, which doubles, if that fails
//   resume    with the new device's number and MAC address
//
// A port that stalls again soon after a repair waits longer for the next repair, up to ten minutes.
// A time in which this process itself was stopped or starved is ignored.
//
// Thread: the writer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dataplane/ports/interface.h"
#include "dataplane/ports/port_judge.h"
#include "dataplane/ports/port_set.h"
#include "dataplane/southbound/counters.h"
#include "dataplane/tables/qsbr.h"

namespace dr {

class PortWatch final {
  public:
    static constexpr std::uint64_t kSampleMs = 250;
    static constexpr std::uint64_t kWorkerMs = 2'000;

    struct Notice {
        bool worker = false;  // else a port
        std::uint16_t number = 0;
        bool stalled = false;  // else: it is well again
        southbound::Fault fault{};
    };
    // What it checks and writes; all of it outlives the watchdog.
    struct Around {
        PortSet* ports = nullptr;
        Qsbr* qsbr = nullptr;
        std::array<std::atomic<bool>, kMaxPorts>* paused = nullptr;
        std::vector<southbound::Health*> port_health;
        std::vector<southbound::Health*> worker_health;
        std::vector<const std::uint64_t*> turns;  // of each worker's loop
        std::function<void(const Notice&)> tell;
    };
    explicit PortWatch(Around around);
    PortWatch(const PortWatch&) = delete;
    PortWatch& operator=(const PortWatch&) = delete;

    // Call it from the writer's loop. now_ns: CLOCK_MONOTONIC.
    void tick(std::uint64_t now_ns);

  private:
    enum class Phase { Watching, Pausing, Closed };
    struct Watched {
        bool xdp = false;
        unsigned ifindex = 0;
        bool zero_copy = false;
        std::vector<QueueJudge> queues;
        Phase phase = Phase::Watching;
        southbound::Fault fault{};   // present; None: it is well
        Qsbr::Token token{};         // of the pause
        std::uint64_t since_ms = 0;  // of the phase
        std::uint64_t next_ms = 0;   // when something may be tried
        unsigned failures = 0;       // in a row
        unsigned soon = 0;           // stalls soon after a repair, in a row
        std::uint64_t repaired_ms = 0;
        std::string said;  // the last reason why it could not be opened
    };
    struct Loop {
        std::uint64_t turns = 0;
        std::uint64_t since_ms = 0;
        bool stands = false;
    };

    void look_at_workers();
    void look_at_port(std::uint16_t number, Watched& w);
    southbound::Fault judge(std::uint16_t number, Watched& w, const Interface& interface);
    void pause(std::uint16_t number, Watched& w);
    void try_close(std::uint16_t number, Watched& w);
    void try_open(std::uint16_t number, Watched& w);
    void resume(std::uint16_t number, Watched& w);
    void stalled(std::uint16_t number, Watched& w, southbound::Fault fault);
    void recovered(std::uint16_t number, Watched& w, const char* how);
    void not_opened(std::uint16_t number, Watched& w, const std::string& why,
                    std::uint64_t pause_ms);
    void write(southbound::Health& health, southbound::HealthState state,
               southbound::Fault fault) const;
    [[nodiscard]] const std::string& name(std::uint16_t number) const;
    [[nodiscard]] bool workers_turn() const;

    Around around_;
    std::vector<Watched> ports_;
    std::vector<Loop> workers_;
    std::uint64_t now_ms_ = 0;
    std::uint64_t now_ns_ = 0;
    std::uint64_t sampled_ms_ = 0;
    unsigned round_ = 0;
};

}  // namespace dr
