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
    // Loads the programs and attaches the uplink program to the device. There is no prefix and no
    // tunnel yet. Throws std::runtime_error (std::system_error where the kernel refused).
    Datapath(Netlink& netlink, const Tap& device);

    // Program for the ingress of a line's device.
    [[nodiscard]] int downlink_program(bool ethernet) const;

    // Each of these publishes as a whole, and does nothing when nothing changed.
    void set_rules(const ur_rules& rules);
    void set_tunnel(unsigned slot, const ur_tunnel& tunnel);
    void set_buckets(const BucketPlan& plan);
    // Whether the programs note the use of buckets; at the start all count as used now.
    void set_moving(bool moving);

    [[nodiscard]] const ur_tunnel& tunnel(unsigned slot) const;
    // Milliseconds since a bucket was last used, as noted while moving.
    [[nodiscard]] std::uint32_t bucket_age_ms(unsigned bucket) const;
    [[nodiscard]] std::vector<std::uint64_t> counters() const;  // by ur_counter
    [[nodiscard]] ur_tunnel_counters tunnel_counters(unsigned slot) const;

  private:
    [[nodiscard]] ur_site& site() const;
    std::unique_ptr<urd_bpf, SkeletonFree> skeleton_;
    std::unique_ptr<Hook> uplink_;
};

}  // namespace dr::ur
