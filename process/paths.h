// Whether somebody else could change where a path leads.
#pragma once

#include <sys/types.h>

#include <string>

namespace dr::process {

// Checks the directory `path`, and each directory and symbolic link on the way to it. Returns why a
// user other than root and `owner` could replace a file there, with the remedy; empty if no such
// user can, or if the directory does not exist. A directory whose sticky bit protects the files of
// each user (/tmp) is accepted.
//
// If it is empty, no other user can replace a file of `owner` or root there by a link.
[[nodiscard]] std::string who_else_may_change(const std::string& path, uid_t owner);

// "drd (uid 998)", or "uid 998" when it has no name.
[[nodiscard]] std::string user_text(uid_t user);

// The directory that a file is in: "." when the path has none.
[[nodiscard]] std::string directory_of(const std::string& file);

}  // namespace dr::process
