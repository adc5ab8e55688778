#include "dataplane/ports/bpf_ids.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>

#include <array>
#include <cstdlib>
#include <string_view>

namespace dr {

namespace {

template <typename Info>
bool has_id(int fd, __u32 id) {
    Info info{};
    __u32 length = sizeof info;
    return bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.id == id;
}

// kind: what the kernel calls such a descriptor. Info: what it tells of one.
template <typename Info>
FileDescriptor own(std::string_view kind, __u32 id) {
    DIR* directory = opendir("/proc/self/fd");
    if (directory == nullptr) return {};
    int found = -1;
    while (const dirent* entry = found < 0 ? readdir(directory) : nullptr) {
        std::array<char, 64> target{};
        const ssize_t size =
            readlinkat(dirfd(directory), entry->d_name, target.data(), target.size());
        if (size <= 0 || std::string_view(target.data(), static_cast<std::size_t>(size)) != kind)
            continue;
        const auto fd = static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
        if (has_id<Info>(fd, id)) found = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
    closedir(directory);
    return FileDescriptor(found);
}

}  // namespace

FileDescriptor bpf_program_by_id(__u32 id) {
    FileDescriptor found = own<bpf_prog_info>("anon_inode:bpf-prog", id);
    return found.valid() ? std::move(found) : FileDescriptor(bpf_prog_get_fd_by_id(id));
}

FileDescriptor bpf_map_by_id(__u32 id) {
    FileDescriptor found = own<bpf_map_info>("anon_inode:bpf-map", id);
    return found.valid() ? std::move(found) : FileDescriptor(bpf_map_get_fd_by_id(id));
}

}  // namespace dr
