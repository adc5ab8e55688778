// Restricts a daemon: no core dumps, no new privileges, and only the capabilities that it needs.
//
// All functions return false and a reason that names the call that failed; then the process is not
// as limited as it should be, and the caller ends.
#pragma once

#include <initializer_list>
#include <string>

namespace dr::process {

// Before there is another thread: no_new_privs, and empty bounding, ambient and inheritable sets,
// so that no program executed from here has a capability. The process keeps the capabilities with
// which it starts. No core dump can be written, and no other process of the same user can read the
// memory, where keys are, unless the dumps are allowed (for debugging).
[[nodiscard]] bool limit_at_start(bool allow_core_dumps, std::string* error);

// After the start: in all threads, `kept` and nothing else is permitted and effective. A capability
// of `kept` that the process does not have is not an error here. Repeats limit_at_start()'s setting
// of core dumps, because a change of the user resets it.
[[nodiscard]] bool keep_capabilities(std::initializer_list<int> kept, std::string* error);

}  // namespace dr::process
