// Shell completion, generated from the tree of commands.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace dr::cli {

// A script for `source <(drcli completion bash)`: commands, options, the values of options, files,
// and the names of objects, which it asks `drcli ... list` for.
[[nodiscard]] std::string bash_completion(const CLI::App& root);
// The same for zsh, with compinit loaded.
[[nodiscard]] std::string zsh_completion(const CLI::App& root);

}  // namespace dr::cli
