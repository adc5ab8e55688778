// Finds BPF programs and maps by id, also among the process's own descriptors.
#include "dataplane/ports/bpf_ids.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

namespace dr {

namespace {

constexpr std::string_view kProgram = "anon_inode:bpf-prog";
constexpr std::string_view kMap = "anon_inode:bpf-map";
constexpr std::string_view kTypes = "anon_inode:btf";

// This process's descriptors of a kind; `kind` is the kernel's name.
std::vector<int> descriptors(std::string_view kind) {
    std::vector<int> found;
    DIR* directory = opendir("/proc/self/fd");
    if (directory == nullptr) return found;
    while (const dirent* entry = readdir(directory)) {
        std::array<char, 64> target{};
        const ssize_t size =
            readlinkat(dirfd(directory), entry->d_name, target.data(), target.size());
        if (size > 0 && std::string_view(target.data(), static_cast<std::size_t>(size)) == kind)
            found.push_back(static_cast<int>(std::strtol(entry->d_name, nullptr, 10)));
    }
    closedir(directory);
    return found;
}

// The kernel's information about one. Id 0: none.
template <typename Info>
__u32 id_of(int fd) {
    Info info{};
    __u32 length = sizeof info;
    return bpf_obj_get_info_by_fd(fd, &info, &length) == 0 ? info.id : 0;
}

template <typename Info>
FileDescriptor own(std::string_view kind, __u32 id) {
    for (const int fd : descriptors(kind))
        if (id_of<Info>(fd) == id) return FileDescriptor(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    return {};
}

}  // namespace

FileDescriptor bpf_program_by_id(__u32 id) {
    FileDescriptor found = own<bpf_prog_info>(kProgram, id);
    return found.valid() ? std::move(found) : FileDescriptor(bpf_prog_get_fd_by_id(id));
}

FileDescriptor bpf_map_by_id(__u32 id) {
    FileDescriptor found = own<bpf_map_info>(kMap, id);
    return found.valid() ? std::move(found) : FileDescriptor(bpf_map_get_fd_by_id(id));
}

std::vector<__u32> bpf_maps_of(int program_fd, bpf_prog_info* info) {
    std::array<__u32, 16> ids{};
    *info = {};
    info->nr_map_ids = static_cast<__u32>(ids.size());
    info->map_ids = reinterpret_cast<std::uintptr_t>(ids.data());
    __u32 length = sizeof *info;
    if (bpf_obj_get_info_by_fd(program_fd, info, &length) != 0) return {};
    const std::size_t count = std::min<std::size_t>(info->nr_map_ids, ids.size());
    return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count)};
}

void bpf_close_leaked(__u32 program_id) {
    std::vector<__u32> maps;
    __u32 types = 0;
    for (const int fd : descriptors(kProgram)) {
        bpf_prog_info info{};
        const std::vector<__u32> ids = bpf_maps_of(fd, &info);
        if (info.id != program_id) continue;
        maps = ids;
        types = info.btf_id;
        close(fd);
    }
    for (const int fd : descriptors(kMap))
        if (std::find(maps.begin(), maps.end(), id_of<bpf_map_info>(fd)) != maps.end()) close(fd);
    for (const int fd : descriptors(kTypes))
        if (types != 0 && id_of<bpf_btf_info>(fd) == types) close(fd);
}

}  // namespace dr
