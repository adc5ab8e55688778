// Checks that only root or the user can change where a path leads.
#include "process/paths.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <deque>
#include <vector>

namespace dr::process {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel has it

void put_in_front(std::deque<std::string>& parts, const std::string& path) {
    std::vector<std::string> more;
    for (std::size_t at = 0; at < path.size();) {
        const std::size_t end = std::min(path.find('/', at), path.size());
        if (end > at) more.push_back(path.substr(at, end - at));
        at = end + 1;
    }
    parts.insert(parts.begin(), more.begin(), more.end());
}

std::string current_directory() {
    std::array<char, PATH_MAX> buffer{};
    return ::getcwd(buffer.data(), buffer.size()) == nullptr ? "/" : buffer.data();
}

std::string target_of(const std::string& link) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t size = ::readlink(link.c_str(), buffer.data(), buffer.size());
    return size <= 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(size));
}

// What is wrong with one directory or link.
std::string judge(const std::string& path, const struct stat& status, uid_t owner) {
    if (status.st_uid != 0 && status.st_uid != owner)
        return path + " belongs to " + user_text(status.st_uid) + ", who could replace what " +
               user_text(owner) + " makes there: chown " + std::to_string(owner) + " " + path;
    const bool others = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    if (S_ISDIR(status.st_mode) && others && (status.st_mode & S_ISVTX) == 0)
        return path + " can be written by others, who could replace what " + user_text(owner) +
               " makes there: chmod go-w " + path;
    return {};
}

}  // namespace

std::string who_else_may_change(const std::string& path, uid_t owner) {
    std::deque<std::string> parts;
    put_in_front(parts, path);
    if (path.empty() || path.front() != '/') put_in_front(parts, current_directory());
    std::string at;  // resolved, without a link; "" is the root directory
    struct stat status {};
    if (::lstat("/", &status) != 0) return {};
    if (std::string why = judge("/", status, owner); !why.empty()) return why;
    for (int links = 0; !parts.empty();) {
        const std::string part = parts.front();
        parts.pop_front();
        if (part == ".") continue;
        if (part == "..") {
            at.erase(at.empty() ? 0 : at.rfind('/'));
            continue;
        }
        const std::string next = at + "/" + part;
        if (::lstat(next.c_str(), &status) != 0) return {};
        if (std::string why = judge(next, status, owner); !why.empty()) return why;
        if (!S_ISLNK(status.st_mode)) {
            at = next;
            continue;
        }
        if (++links > kMaxLinks) return next + ": too many symbolic links";
        const std::string target = target_of(next);
        if (target.starts_with('/')) at.clear();
        put_in_front(parts, target);
    }
    return {};
}

std::string user_text(uid_t user) {
    std::vector<char> buffer(16 * 1024);
    passwd entry{};
    passwd* found = nullptr;
    ::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found);
    const std::string number = "uid " + std::to_string(user);
    return found == nullptr ? number : found->pw_name + (" (" + number + ")");
}

std::string directory_of(const std::string& file) {
    const std::size_t slash = file.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : file.substr(0, slash);
}

}  // namespace dr::process
