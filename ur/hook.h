// A program on everything that enters or leaves a device. One thread.
//
// It is a filter of a clsact qdisc, under urd's own priority and handle. An `ingress` qdisc (of
// traffic shapers, policers) stands where clsact would, and has no place for what leaves: there the
// kernel puts such a filter to what enters. And a filter of somebody else with a smaller priority
// may take packets before ours. In both cases the program is attached by tcx (Linux 6.6), which
// comes before all qdiscs and filters; there it stays.
#pragma once

#include <cstdint>
#include <string>

#include "ur/netlink.h"
#include "ur/tcx.h"

namespace dr::ur {

// What restore() had to do.
enum class HookRepair {
    None,
    Again,   // somebody had taken the program away
    Before,  // something had come to stand before it, or where it was; now it is first
};

// Takes away at the end what it brought, the qdisc included when nobody else uses it.
class Hook final {
  public:
    // A program that an earlier run left there is replaced, and no packet passes between the two.
    // Throws std::system_error, also where the device has an `ingress` qdisc and the kernel no tcx.
    Hook(Netlink& netlink, int index, bool ingress, int program);
    ~Hook();
    Hook(const Hook&) = delete;
    Hook& operator=(const Hook&) = delete;

    // Attaches the program again where somebody has taken it away, or the qdisc with it, or has put
    // something before it. Throws std::system_error; then the program may not be there.
    HookRepair restore();
    // Whether it stands before a qdisc or a filter of somebody else.
    [[nodiscard]] bool before_others() const { return first_; }
    // At the end everything stays attached.
    void keep() { keep_ = true; }

  private:
    void attach();
    void attach_filter(bool made_qdisc);
    // By tcx; `why` a filter does not do. Throws std::system_error.
    void attach_first(const std::string& why);
    void remove() noexcept;
    void remove_filter() noexcept;
    [[nodiscard]] bool has_filter() const;
    // Why a filter of ours does not do here; empty: it does.
    [[nodiscard]] std::string crowded() const;

    Netlink& netlink_;
    int index_;
    bool ingress_;
    Tcx tcx_;
    int program_;
    std::uint32_t program_id_;
    bool own_qdisc_ = false;
    bool first_ = false;  // by tcx
    bool keep_ = false;
};

}  // namespace dr::ur
