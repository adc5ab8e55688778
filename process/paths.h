// Whether somebody else could change where a path leads.
#pragma once

#include <sys/types.h>

#include <string>

namespace dr::process {

// Of the directory `path` and of each directory and symbolic link on the way to it: why somebody
// other than root and user `owner` could put something else in the place of a file there, as text
// with the remedy; empty when nobody could, or when the directory cannot be looked at for want of
// being there. Where a sticky bit protects the files of each user (/tmp), it is taken for good.
//
// When it is empty, nothing that `owner` or root makes there can be swapped for a link meanwhile.
[[nodiscard]] std::string who_else_may_change(const std::string& path, uid_t owner);

// "drd (uid 998)", or "uid 998" when it has no name.
[[nodiscard]] std::string user_text(uid_t user);

// The directory that a file is in: "." when the path has none.
[[nodiscard]] std::string directory_of(const std::string& file);

}  // namespace dr::process
