// A program on a clsact hook of a device, under urd's own priority and handle. One thread.
#pragma once

#include <cstdint>

#include "ur/netlink.h"

namespace dr::ur {

// Takes away at the end what it brought, the qdisc included when nobody else uses it.
class Hook final {
  public:
    // A filter that an earlier run left there is replaced, and no packet passes between the two.
    // Throws std::system_error.
    Hook(Netlink& netlink, int index, bool ingress, int program);
    ~Hook();
    Hook(const Hook&) = delete;
    Hook& operator=(const Hook&) = delete;

    // Attaches the program again where somebody has taken it away, or the qdisc with it. True: it
    // had to. Throws std::system_error.
    bool restore();
    // At the end everything stays attached.
    void keep() { keep_ = true; }

  private:
    void attach();
    void remove() noexcept;

    Netlink& netlink_;
    int index_;
    bool ingress_;
    int program_;
    std::uint32_t program_id_;
    bool own_qdisc_ = false;
    bool keep_ = false;
};

}  // namespace dr::ur
