// The eBPF programs: loading, the configuration they read, where they are attached, what they
// count. One thread; the programs run meanwhile on every CPU.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ur/config.h"
#include "ur/netlink.h"
#include "ur/site.h"
#include "ur/tap.h"

struct urd_bpf;

namespace dr::ur {

struct SkeletonFree {
    void operator()(urd_bpf* skeleton) const;
};

// A program on a clsact hook, under urd's own priority and handle. Takes away at the end what it
// brought, the qdisc included when nobody else uses it.
class Hook final {
  public:
    // A filter that a killed run left there is replaced. Throws std::system_error.
    Hook(Netlink& netlink, int index, bool ingress, int program);
    ~Hook();
    Hook(const Hook&) = delete;
    Hook& operator=(const Hook&) = delete;

  private:
    void remove() noexcept;
    Netlink& netlink_;
    int index_;
    bool ingress_;
    bool own_qdisc_;
};

class Datapath final {
  public:
    // Loads the programs for this site and attaches the uplink program to the device. No line is
    // usable yet. Throws std::runtime_error (std::system_error where the kernel refused).
    Datapath(Netlink& netlink, const Config& config, const Tap& device);

    // Program for the ingress of a line's device.
    [[nodiscard]] int downlink_program(bool ethernet) const;
    // Publishes how a tunnel is reached now; nothing is done when nothing changed.
    // `index` 0: unusable.
    void set_path(const Tunnel& tunnel, int index, const IpAddress& local,
                  const IpAddress& next_hop);
    // Publishes the bucket maps of all classes for these lines (bit n: line number n).
    void set_eligible(std::uint32_t lines);

    [[nodiscard]] std::vector<std::uint64_t> counters() const;  // by ur_counter
    [[nodiscard]] ur_tunnel_counters tunnel_counters(unsigned slot) const;
    [[nodiscard]] bool usable(unsigned slot) const;

  private:
    const Config& config_;
    std::unique_ptr<urd_bpf, SkeletonFree> skeleton_;
    std::unique_ptr<Hook> uplink_;
};

}  // namespace dr::ur
