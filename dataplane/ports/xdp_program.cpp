// Loads, attaches, recognises and replaces the steering program.
#include "dataplane/ports/xdp_program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "dataplane/ports/bpf_ids.h"
#include "dataplane/ports/xdp_steer.h"
#include "xdp_steer.skel.h"

namespace dr {

namespace {

dr_local_key local_key(const IpAddress& address) {
    dr_local_key key{};
    if (address.family == 6) {
        std::memcpy(key.address, address.bytes.data(), 16);
    } else {
        key.address[10] = key.address[11] = 0xff;
        std::memcpy(key.address + 12, address.bytes.data(), 4);
    }
    return key;
}

IpAddress from_key(const dr_local_key& key) {
    static constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    IpAddress address;
    address.family = std::memcmp(key.address, kMapped.data(), 12) == 0 ? 4 : 6;
    if (address.family == 4)
        std::memcpy(address.bytes.data(), key.address + 12, 4);
    else
        std::memcpy(address.bytes.data(), key.address, 16);
    return address;
}

template <typename Key>
Key pool_key(const IpPrefix& prefix) {
    Key key{};
    key.length = prefix.length;
    std::memcpy(key.address, prefix.address.bytes.data(), sizeof key.address);
    return key;
}

template <typename Key>
std::vector<Key> keys_of(int map) {
    std::vector<Key> keys;
    Key key{};
    const void* previous = nullptr;
    while (bpf_map_get_next_key(map, previous, &key) == 0) {
        keys.push_back(key);
        previous = &keys.back();
    }
    return keys;
}

template <typename Key>
void pools_of(int map, std::uint8_t family, std::vector<IpPrefix>* out) {
    for (const Key& key : keys_of<Key>(map)) {
        IpPrefix prefix;
        prefix.address.family = family;
        std::memcpy(prefix.address.bytes.data(), key.address, sizeof key.address);
        prefix.length = static_cast<std::uint8_t>(key.length);
        out->push_back(prefix);
    }
}

bool put(const FileDescriptor& map, const void* key) {
    const std::uint8_t present = 1;
    return bpf_map_update_elem(map.get(), key, &present, BPF_ANY) == 0;
}

FileDescriptor attached_program(unsigned ifindex) {
    __u32 id = 0;
    if (bpf_xdp_query_id(static_cast<int>(ifindex), 0, &id) != 0 || id == 0) return {};
    return bpf_program_by_id(id);
}

}  // namespace

std::optional<XdpObjectFile> XdpObjectFile::create(std::string* error) {
    std::size_t size = 0;
    const void* bytes = xdp_steer__elf_bytes(&size);
    XdpObjectFile file;
    file.fd_ = FileDescriptor(memfd_create("dr-xdp-steer", MFD_CLOEXEC));
    if (!file.fd_.valid() || write(file.fd_.get(), bytes, size) != static_cast<ssize_t>(size)) {
        *error =
            fmt::format("cannot hold the steering program in memory: {}", std::strerror(errno));
        return std::nullopt;
    }
    return file;
}

std::optional<XdpMaps> XdpMaps::of_program(int program_fd, std::string* error) {
    XdpMaps maps;
    bpf_prog_info program{};
    for (const __u32 id : bpf_maps_of(program_fd, &program)) {
        FileDescriptor fd = bpf_map_by_id(id);
        bpf_map_info map{};
        __u32 length = sizeof map;
        if (!fd.valid() || bpf_obj_get_info_by_fd(fd.get(), &map, &length) != 0) continue;
        const std::string name = map.name;
        if (name == "locals" && map.key_size == sizeof(dr_local_key))
            maps.locals_ = std::move(fd);
        else if (name == "pools4" && map.key_size == sizeof(dr_pool4_key))
            maps.pools4_ = std::move(fd);
        else if (name == "pools6" && map.key_size == sizeof(dr_pool6_key))
            maps.pools6_ = std::move(fd);
        else if (name == "arrived" && map.value_size == sizeof(__u64))
            maps.arrived_ = std::move(fd);
    }
    maps.program_ = FileDescriptor(fcntl(program_fd, F_DUPFD_CLOEXEC, 0));
    maps.program_id_ = program.id;
    if (maps.locals_.valid() && maps.pools4_.valid() && maps.pools6_.valid()) return maps;
    *error = fmt::format(
        "cannot open the maps of the steering program (those of an earlier run need CAP_SYS_ADMIN, "
        "which the start has as root): {}",
        std::strerror(errno));
    return std::nullopt;
}

std::optional<XdpMaps> XdpMaps::of_interface(const std::string& interface, std::string* error) {
    std::string name;
    if (xdp_attachment(interface, &name) != XdpAttachment::Ours) {
        *error = fmt::format("the steering program is not attached to {}{}", interface,
                             name.empty() ? "" : "; another is: " + name);
        return std::nullopt;
    }
    return of_program(attached_program(if_nametoindex(interface.c_str())).get(), error);
}

bool XdpMaps::attach(const std::string& interface, std::string* error) const {
    const auto ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    const int result =
        bpf_xdp_attach(ifindex, program_.get(), XDP_FLAGS_UPDATE_IF_NOEXIST, nullptr);
    if (result != 0)
        *error = fmt::format("the steering program cannot be attached to {}: {}", interface,
                             std::strerror(-result));
    return result == 0;
}

std::uint64_t XdpMaps::arrived(std::uint32_t queue) const {
    // A value for each CPU that there could be.
    std::vector<std::uint64_t> counts(
        static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
    if (!arrived_.valid() || bpf_map_lookup_elem(arrived_.get(), &queue, counts.data()) != 0)
        return 0;
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

bool XdpMaps::add_local(const IpAddress& address) const {
    const dr_local_key key = local_key(address);
    return put(locals_, &key);
}

void XdpMaps::remove_local(const IpAddress& address) const {
    const dr_local_key key = local_key(address);
    bpf_map_delete_elem(locals_.get(), &key);
}

bool XdpMaps::add_pool(const IpPrefix& prefix) const {
    if (prefix.address.family == 4) {
        const auto key = pool_key<dr_pool4_key>(prefix);
        return put(pools4_, &key);
    }
    const auto key = pool_key<dr_pool6_key>(prefix);
    return put(pools6_, &key);
}

void XdpMaps::remove_pool(const IpPrefix& prefix) const {
    if (prefix.address.family == 4) {
        const auto key = pool_key<dr_pool4_key>(prefix);
        bpf_map_delete_elem(pools4_.get(), &key);
    } else {
        const auto key = pool_key<dr_pool6_key>(prefix);
        bpf_map_delete_elem(pools6_.get(), &key);
    }
}

std::vector<IpAddress> XdpMaps::locals() const {
    std::vector<IpAddress> addresses;
    for (const dr_local_key& key : keys_of<dr_local_key>(locals_.get()))
        addresses.push_back(from_key(key));
    return addresses;
}

std::vector<IpPrefix> XdpMaps::pools() const {
    std::vector<IpPrefix> prefixes;
    pools_of<dr_pool4_key>(pools4_.get(), 4, &prefixes);
    pools_of<dr_pool6_key>(pools6_.get(), 6, &prefixes);
    return prefixes;
}

XdpAttachment xdp_attachment(const std::string& interface, std::string* name) {
    name->clear();
    const unsigned ifindex = if_nametoindex(interface.c_str());
    __u32 id = 0;
    if (ifindex == 0 || bpf_xdp_query_id(static_cast<int>(ifindex), 0, &id) != 0 || id == 0)
        return XdpAttachment::None;
    const FileDescriptor program = attached_program(ifindex);
    bpf_prog_info info{};
    __u32 length = sizeof info;
    if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) {
        *name = fmt::format("id {}; what it is, only CAP_SYS_ADMIN may know", id);
        return XdpAttachment::Foreign;
    }
    *name = info.name;
    return *name == DR_XDP_PROGRAM ? XdpAttachment::Ours : XdpAttachment::Foreign;
}

std::uint32_t xdp_attached_id(const std::string& interface) {
    const unsigned ifindex = if_nametoindex(interface.c_str());
    __u32 id = 0;
    if (ifindex == 0 || bpf_xdp_query_id(static_cast<int>(ifindex), 0, &id) != 0) return 0;
    return id;
}

bool xdp_detach(const std::string& interface) {
    std::string name;
    if (xdp_attachment(interface, &name) != XdpAttachment::Ours) return true;
    const auto ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    return bpf_xdp_detach(ifindex, 0, nullptr) == 0;
}

}  // namespace dr
