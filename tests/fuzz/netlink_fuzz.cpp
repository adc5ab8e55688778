// What urd reads of route netlink: answers of the kernel, and a monitor's datagrams.
//
// Input: what is asked for (the device's index, the family by its low bit, a protocol number and a
// table, a byte each), then a message as the kernel sends it; its length is made to fit. What is
// read is what was asked for, and of the message.
#include <netlink/msg.h>

#include <vector>

#include "tests/fuzz/fuzz.h"
#include "ur/netlink_messages.h"

using namespace dr;
using namespace dr::ur;
using fuzz::require;

namespace {

void check_address(const IpAddress& address) {
    require(address.family == 0 || address.family == 4 || address.family == 6, "family");
    const std::size_t used = address.family == 6 ? 16 : address.family;
    for (std::size_t i = used; i < address.bytes.size(); ++i)
        require(address.bytes[i] == 0, "bytes beyond the address");
}

// In memory of its own, so that a byte read beyond it is found.
struct Message {
    explicit Message(std::span<const std::uint8_t> bytes)
        : words((std::max(bytes.size(), sizeof(nlmsghdr)) + 3) / 4) {
        if (!bytes.empty()) std::memcpy(words.data(), bytes.data(), bytes.size());
        header()->nlmsg_len = static_cast<std::uint32_t>(words.size() * 4);
    }
    nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(words.data()); }
    std::vector<std::uint32_t> words;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const int index = input.take<std::uint8_t>();
    const std::uint8_t family = (input.take<std::uint8_t>() & 1U) != 0 ? 6 : 4;
    const std::uint32_t table = input.take<std::uint8_t>();
    Message message(input.rest());

    (void)link_in(message.header());
    if (const auto own = source_address_in(message.header(), index, family)) {
        check_address(own->address);
        require(own->address.family == family, "an address of another family");
    }
    const IpAddress source = source_in(message.header(), family);
    check_address(source);
    require(source.family == 0 || source.family == family, "a source of another family");
    if (const auto own = own_address_in(message.header())) {
        check_address(own->address);
        require(own->address.family != 0, "an own address without a family");
    }
    if (const auto gateway = gateway_in(message.header(), index, family)) check_address(*gateway);
    if (const auto qdisc = qdisc_in(message.header()))
        require(qdisc->kind.size() <= input.rest().size(), "a kind longer than the message");
    (void)filter_in(message.header());
    if (const auto rule = rule_in(message.header()))
        require(rule->family == 4 || rule->family == 6, "a rule of another family");
    if (const auto route = table_route_in(message.header(), table)) {
        check_address(route->to.address);
        require(route->type == RTN_UNICAST || route->device == 0, "a device of no way");
    }
    if (const auto route = device_route_in(message.header())) {
        check_address(route->to.address);
        require(route->to.length <= route->to.address.bits(), "a network longer than an address");
    }

    std::vector<char> datagram(input.rest().begin(), input.rest().end());
    (void)beyond_routes(datagram);
    return 0;
}
