// Files with secrets, and files that root writes: never through a link, never wider than they
// should.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace dr::process {

// Replaces the file completely and on disk, or leaves it unchanged. The content is first written to
// `path`.new; an existing file or link of that name is removed and not followed. false and a reason
// that names the file.
[[nodiscard]] bool replace_file(const std::string& path, std::string_view content, mode_t mode,
                                std::string* why);

// Takes from a regular file the rights that are not in `mode`; a missing file is accepted. false
// and a reason that names the file: it is a link or something else, or belongs to another.
[[nodiscard]] bool narrow_file(const std::string& path, mode_t mode, std::string* why);

// Opens or makes a regular file for writing, without truncating it. -1 and a reason that names the
// file: a link, a device, a pipe, a folder, or it cannot be opened.
[[nodiscard]] int open_regular(const std::string& path, mode_t mode, std::string* why);

}  // namespace dr::process
