// Keeps the kernel's next hop objects and resolves groups.
#include "dataplane/ports/nexthop_objects.h"

#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace dr {

namespace {

using Bytes = std::span<const std::uint8_t>;

// Calls back with each attribute (RFC 3549 §2.3.1) that lies whole in the message, `header` bytes
// behind the start of its payload.
template <typename F>
void for_attributes(const nlmsghdr* message, std::size_t header, F&& f) {
    if (message->nlmsg_len < NLMSG_LENGTH(header)) return;
    const auto* at = reinterpret_cast<const std::uint8_t*>(message) + NLMSG_SPACE(header);
    std::size_t left = message->nlmsg_len - NLMSG_LENGTH(header);
    while (left >= sizeof(rtattr)) {
        rtattr attribute{};
        std::memcpy(&attribute, at, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > left) return;
        f(attribute.rta_type & NLA_TYPE_MASK,
          Bytes(at + sizeof attribute, attribute.rta_len - sizeof attribute));
        const std::size_t step = RTA_ALIGN(attribute.rta_len);
        if (step >= left) return;
        at += step;
        left -= step;
    }
}

std::uint32_t number(Bytes bytes) {
    std::uint32_t value = 0;
    if (bytes.size() >= sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

std::vector<std::uint32_t> members(Bytes bytes) {
    std::vector<std::uint32_t> ids;
    for (; bytes.size() >= sizeof(nexthop_grp); bytes = bytes.subspan(sizeof(nexthop_grp)))
        ids.push_back(number(bytes));
    return ids;
}

IpAddress address(Bytes bytes) {
    IpAddress a;
    if (bytes.size() != 4 && bytes.size() != 16) return a;
    a.family = bytes.size() == 4 ? 4 : 6;
    std::copy(bytes.begin(), bytes.end(), a.bytes.begin());
    return a;
}

}  // namespace

bool NexthopObjects::take(const nlmsghdr* message) {
    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(nhmsg))) return false;
    nhmsg head{};
    std::memcpy(&head, NLMSG_DATA(message), sizeof head);
    std::uint32_t id = 0;
    Object object;
    object.generation = generation_;
    object.hop.down = (head.nh_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) != 0;
    object.hop.dead = (head.nh_flags & RTNH_F_DEAD) != 0;
    for_attributes(message, sizeof head, [&](int type, Bytes value) {
        if (type == NHA_ID) id = number(value);
        if (type == NHA_OIF) object.hop.ifindex = static_cast<int>(number(value));
        if (type == NHA_GATEWAY) object.hop.gateway = address(value);
        if (type == NHA_GROUP) object.group = members(value);
    });
    if (id == 0) return false;
    const bool used = in_use(id);
    if (message->nlmsg_type == RTM_DELNEXTHOP) return objects_.erase(id) != 0 && used;
    const auto [at, fresh] = objects_.try_emplace(id);
    const bool changed = fresh || at->second.hop != object.hop || at->second.group != object.group;
    at->second = std::move(object);
    return changed && used;
}

std::uint32_t NexthopObjects::id_of(const nlmsghdr* route) {
    std::uint32_t id = 0;
    for_attributes(route, sizeof(rtmsg), [&](int type, Bytes value) {
        if (type == RTA_NH_ID) id = number(value);
    });
    return id;
}

std::vector<NexthopObjects::Hop> NexthopObjects::hops_of(std::uint32_t id) {
    used_.insert(id);
    const auto found = objects_.find(id);
    if (found == objects_.end()) return {};
    if (found->second.group.empty()) return {found->second.hop};
    std::vector<Hop> hops;
    for (const std::uint32_t member : found->second.group) {
        const auto at = objects_.find(member);
        // A group has no groups in it.
        if (at != objects_.end() && at->second.group.empty()) hops.push_back(at->second.hop);
    }
    return hops;
}

bool NexthopObjects::in_use(std::uint32_t id) const {
    return std::any_of(used_.begin(), used_.end(), [&](std::uint32_t user) {
        if (user == id) return true;
        const auto at = objects_.find(user);
        return at != objects_.end() && std::find(at->second.group.begin(), at->second.group.end(),
                                                 id) != at->second.group.end();
    });
}

void NexthopObjects::mark() {
    ++generation_;
    used_.clear();
}

void NexthopObjects::sweep() {
    std::erase_if(objects_,
                  [this](const auto& entry) { return entry.second.generation != generation_; });
}

}  // namespace dr
