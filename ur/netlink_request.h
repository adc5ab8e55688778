// How Netlink makes its messages. Any thread.
#pragma once

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <cstdint>
#include <new>

#include "ur/netlink.h"

namespace dr::ur {

inline constexpr std::uint8_t kFamilies[]{4, 6};

inline std::uint8_t af(std::uint8_t family) {
    return family == 6 ? AF_INET6 : AF_INET;
}
inline int size_of(std::uint8_t family) {
    return family == 6 ? 16 : 4;
}

template <typename Header>
NlMessage make(int type, int flags, const Header& header) {
    NlMessage message(nlmsg_alloc_simple(type, flags));
    if (!message || nlmsg_append(message.get(), const_cast<Header*>(&header), sizeof header,
                                 NLMSG_ALIGNTO) != 0)
        throw std::bad_alloc();
    return message;
}

inline void put(nl_msg* message, int type, const void* data, int length) {
    if (nla_put(message, type, length, data) != 0) throw std::bad_alloc();
}
inline void put_u32(nl_msg* message, int type, std::uint32_t value) {
    put(message, type, &value, sizeof value);
}

}  // namespace dr::ur
