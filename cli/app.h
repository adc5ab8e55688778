// The command line of drcli, from arguments to exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/context.h"

namespace dr::cli {

// The whole tree of commands; `context` must live as long.
[[nodiscard]] std::unique_ptr<CLI::App> make_app(Context& context);

// Takes DRCLI_SERVER, DRCLI_TLS_CERT, DRCLI_TLS_KEY and DRCLI_TLS_CA from the environment.
void read_environment(GlobalOptions& options);

// Runs one command; arguments without the program's name. Errors go to context.err.
[[nodiscard]] int run(Context& context, const std::vector<std::string>& arguments);

}  // namespace dr::cli
