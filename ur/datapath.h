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
#include "ur/finisher.h"
#include "ur/hook.h"
#include "ur/netlink.h"
#include "ur/site.h"
#include "ur/tap.h"

struct urd_bpf;

namespace dr::ur {

struct SkeletonFree {
    void operator()(urd_bpf* skeleton) const;
};

class Datapath final {
  public:
    // Loads the programs and attaches the uplink programs to the device and to its finisher. There
    // is no prefix and no tunnel yet. Throws std::runtime_error (std::system_error where the kernel
    // refused).
    Datapath(Netlink& netlink, const Tap& device);

    // The tunnel device was made again: packets go through the new one. Throws std::system_error.
    void set_device(const Tap& device);

    // Programs for the ingress and the egress of a line's device.
    [[nodiscard]] int downlink_program(bool ethernet) const;
    [[nodiscard]] int line_out_program(bool ethernet) const;
    // For the ingress of a device below a line's.
    [[nodiscard]] int below_program(bool ethernet) const;

    // The lines' devices, UR_LINES at most; between them nothing is forwarded.
    void set_lines(const std::vector<int>& devices);
    // Whether what is not the site's may be forwarded out of a line.
    void set_breakout(bool allowed);
    // Attaches the uplink programs again where they are missing, and makes the finisher again where
    // that is. True: something was. Throws
    // std::system_error.
    bool restore();

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
    void make_finisher();
    [[nodiscard]] ur_site& site() const;
    Netlink& netlink_;
    std::unique_ptr<urd_bpf, SkeletonFree> skeleton_;
    std::unique_ptr<Hook> uplink_;
    std::string device_;  // the tunnel device's name
    std::unique_ptr<Finisher> finisher_;
    bool finishes_ = false;  // it could be made when urd started
    std::unique_ptr<Hook> whole_;
};

}  // namespace dr::ur
