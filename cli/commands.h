// The command groups, one file each, and what they share in building the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <string>

#include "cli/context.h"

namespace dr::cli {

// A group ("subscriber"), which needs one of its commands, or a command of the top level.
CLI::App* add_group(CLI::App& parent, Context& context, const std::string& name,
                    const std::string& help);
// A command, which takes the global options too; `action` runs after the whole line is parsed.
CLI::App* add_command(CLI::App& parent, Context& context, const std::string& name,
                      const std::string& help, std::function<int(Context&)> action);
void add_global_options(CLI::App& app, Context& context);
// Examples below the help text, one command a line.
void add_examples(CLI::App& app, const std::string& lines);

// "10s", "500ms", "2m"; a shorter time than `shortest` is a usage error.
CLI::Option* add_duration(CLI::App& app, const std::string& name, std::chrono::milliseconds& value,
                          const std::string& help, std::chrono::milliseconds shortest = {});
// A GRE key, decimal or 0x hexadecimal.
CLI::Option* add_tunnel_id(CLI::App& app, const std::string& name, std::uint32_t& value,
                           const std::string& help);
// --interval and --count of a live table.
void add_watch_options(CLI::App& app, std::chrono::milliseconds& interval, std::uint64_t& count);

// The text that explains why there is no `tunnel apply`.
inline constexpr const char* kTunnelsBelong =
    "A tunnel is a part of its subscriber: drcli subscriber apply makes, changes and deletes it.";

void add_apply(CLI::App& root, Context& context);
// `policy apply`: as the above, and objects of other kinds are refused.
void add_group_apply(CLI::App& group, Context& context, const std::string& kind);
void add_pool(CLI::App& root, Context& context);
void add_policy(CLI::App& root, Context& context);
void add_subscriber(CLI::App& root, Context& context);
// Of the group "subscriber": its router's credentials and keys.
void add_enrollment(CLI::App& group, Context& context);
void add_tunnel(CLI::App& root, Context& context);
void add_event(CLI::App& root, Context& context);
void add_stats(CLI::App& root, Context& context);
void add_system(CLI::App& root, Context& context);
void add_credential(CLI::App& root, Context& context);
void add_completion(CLI::App& root, Context& context);
// `drcli version` and `drcli help`.
void add_help(CLI::App& root, Context& context);

}  // namespace dr::cli
