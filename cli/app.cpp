// Builds drcli's tree of commands and runs the one that the arguments name.
#include "cli/app.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/printable.h"
#include "cli/commands.h"
#include "cli/errors.h"
#include "cli/format.h"

namespace dr::cli {
namespace {

constexpr const char* kGlobalGroup = "Global options";
constexpr std::chrono::milliseconds kShortestInterval{100};

constexpr const char* kRootExamples =
    "drcli apply -f sites.json\n"
    "drcli subscriber list --within 203.0.113.0/24\n"
    "drcli tunnel watch --subscriber site-42\n"
    "drcli event list --subscriber site-42 --since 1h\n"
    "drcli stats drops\n"
    "drcli --server 192.0.2.1:7443 --tls-cert me.pem --tls-key me.key --tls-ca ca.pem "
    "system status";

void set_output(GlobalOptions& options, const std::string& text) {
    if (text != "table" && text != "json") {
        throw CLI::ValidationError("--output", "must be table or json, not " + text);
    }
    options.output = text == "json" ? Output::Json : Output::Table;
}

// The command that was being parsed when the error was found.
const CLI::App& deepest(const CLI::App& app) {
    const CLI::App* at = &app;
    while (!at->get_subcommands().empty()) {
        at = at->get_subcommands().front();
    }
    return *at;
}

std::string path_of(const CLI::App& app) {
    return app.get_parent() == nullptr ? app.get_name()
                                       : path_of(*app.get_parent()) + " " + app.get_name();
}

std::size_t distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t other = std::min(row[j], row[j - 1]) + 1;
            const std::size_t same = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = std::exchange(row[j], std::min(other, same));
        }
    }
    return row.back();
}

// The first unexpected word as typed; the library lists such words in its own order.
std::string first_unexpected(const std::vector<std::string>& reversed, const std::string& error) {
    const std::string named = error.substr(error.rfind(": ") + 1) + " ";
    for (auto word = reversed.rbegin(); word != reversed.rend(); ++word) {
        if (named.find(" " + *word + " ") != std::string::npos) {
            return *word;
        }
    }
    return {};
}

std::string unexpected(const CLI::App& at, const std::string& word) {
    if (!word.starts_with("-")) {
        return fmt::format("\"{}\" is one word too many", word);
    }
    std::string near;
    std::size_t best = 3;
    for (const auto* option : at.get_options()) {
        const std::string name = option->get_name();
        if (name.starts_with("--") && distance(name, word) < best) {
            best = distance(name, word);
            near = name;
        }
    }
    return fmt::format("\"{}\" is no option of {}{}", word, path_of(at),
                       near.empty() ? "" : "; is " + near + " meant?");
}

std::string usage_message(const std::vector<std::string>& reversed, const CLI::App& at,
                          const CLI::ParseError& error) {
    const auto commands = at.get_subcommands([](const CLI::App*) { return true; });
    if (commands.empty()) {
        const auto word = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr
                              ? first_unexpected(reversed, error.what())
                              : std::string();
        return word.empty() ? error.what() : unexpected(at, word);
    }
    std::string names;
    for (const auto* command : commands) {
        names += (names.empty() ? "" : ", ") + command->get_name();
    }
    for (const auto& word : at.remaining()) {
        if (at.get_name() == "tunnel" && (word == "apply" || word == "delete")) {
            return fmt::format("\"{}\" is no command here. {}", word, kTunnelsBelong);
        }
        if (!word.starts_with("-")) {
            return fmt::format("\"{}\" is no command; there are: {}", word, names);
        }
    }
    return at.remaining().empty() && error.get_name() == "RequiredError"
               ? "a command is missing; there are: " + names
               : error.what();
}

// Nothing if a command is to run, otherwise the exit code.
std::optional<int> parse(Context& context, CLI::App& app, std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());
    try {
        auto words = arguments;
        app.parse(words);
        return std::nullopt;
    } catch (const CLI::CallForVersion&) {
        fmt::print(context.out, "drcli {}\n", DR_VERSION);
        return kExitOk;
    } catch (const CLI::Success&) {
        fmt::print(context.out, "{}", app.help());
        return kExitOk;
    } catch (const CLI::ParseError& error) {
        const auto& at = deepest(app);
        fmt::print(context.err, "drcli: error: {}\nTry: {} --help\n",
                   printable_lines(usage_message(arguments, at, error)), path_of(at));
        return kExitUsage;
    }
}

// The first of the words that does not lead to a command.
std::optional<std::string> unknown_command(const CLI::App& root,
                                           const std::vector<std::string>& words) {
    const CLI::App* at = &root;
    for (const auto& word : words) {
        const auto found =
            at->get_subcommands([&](const CLI::App* a) { return a->get_name() == word; });
        if (found.empty()) {
            return word;
        }
        at = found.front();
    }
    return std::nullopt;
}

int act(Context& context) {
    try {
        const int code = context.action(context);
        check_written(context.out);
        return code;
    } catch (const Failure& failure) {
        std::fflush(context.out);
        fmt::print(context.err, "drcli: error: {}\n", printable_lines(failure.what()));
        return failure.exit_code();
    } catch (const std::system_error& error) {
        // The reader has closed the output.
        if (error.code().value() != EPIPE) {
            fmt::print(context.err, "drcli: error: standard output cannot be written: {}\n",
                       error.code().message());
        }
        return kExitRefused;
    }
}

}  // namespace

void add_global_options(CLI::App& app, Context& context) {
    auto& options = context.options;
    app.add_option("--server", options.server,
                   "unix:PATH or HOST:PORT (default: DRCLI_SERVER, else unix:/run/dr/drd.sock)")
        ->type_name("ADDRESS")
        ->group(kGlobalGroup);
    app.add_option_function<std::string>(
           "-o,--output", [&options](const std::string& text) { set_output(options, text); },
           "table or json (default: table)")
        ->type_name("FORM")
        ->group(kGlobalGroup);
    app.add_option("--tls-cert", options.tls_cert, "Own certificate chain, PEM")
        ->type_name("FILE")
        ->group(kGlobalGroup);
    app.add_option("--tls-key", options.tls_key, "Own private key, PEM")
        ->type_name("FILE")
        ->group(kGlobalGroup);
    app.add_option("--tls-ca", options.tls_ca, "Certificates that sign the server's, PEM")
        ->type_name("FILE")
        ->group(kGlobalGroup);
}

void check_written(std::FILE* out) {
    if (std::fflush(out) != 0) {
        throw std::system_error(errno, std::generic_category());
    }
    // It failed earlier: the cause is no longer known.
    if (std::ferror(out) != 0) {
        throw std::system_error(EIO, std::generic_category());
    }
}

CLI::App* add_group(CLI::App& parent, Context& context, const std::string& name,
                    const std::string& help) {
    auto* group = parent.add_subcommand(name, help);
    group->require_subcommand(1);
    add_global_options(*group, context);
    return group;
}

CLI::App* add_command(CLI::App& parent, Context& context, const std::string& name,
                      const std::string& help, std::function<int(Context&)> action) {
    auto* command = parent.add_subcommand(name, help);
    add_global_options(*command, context);
    command->callback([&context, action = std::move(action)] { context.action = action; });
    return command;
}

void add_examples(CLI::App& app, const std::string& lines) {
    std::string text = "Examples:";
    std::istringstream stream(lines);
    for (std::string line; std::getline(stream, line);) {
        text += "\n  " + line;
    }
    app.footer(text);
}

CLI::Option* add_duration(CLI::App& app, const std::string& name, std::chrono::milliseconds& value,
                          const std::string& help, std::chrono::milliseconds shortest) {
    return app
        .add_option_function<std::string>(
            name,
            [&value, name, shortest](const std::string& text) {
                const auto duration = parse_duration(text);
                if (!duration) {
                    throw CLI::ValidationError(
                        name, fmt::format("\"{}\" is no time: write 500ms, 10s, 2m or 1h", text));
                }
                if (*duration < shortest) {
                    throw CLI::ValidationError(
                        name, fmt::format("must be at least {} ms", shortest.count()));
                }
                value = *duration;
            },
            help)
        ->type_name("TIME");
}

CLI::Option* add_tunnel_id(CLI::App& app, const std::string& name, std::uint32_t& value,
                           const std::string& help) {
    return app
        .add_option_function<std::string>(
            name,
            [&value, name](const std::string& text) {
                const auto id = parse_tunnel_id(text);
                if (!id || *id == 0) {
                    throw CLI::ValidationError(
                        name,
                        fmt::format("\"{}\" is no tunnel id: write 16777257 or 0x1000029", text));
                }
                value = *id;
            },
            help)
        ->type_name(name == "ID" ? "" : "ID");
}

void add_watch_options(CLI::App& app, std::chrono::milliseconds& interval, std::uint64_t& count) {
    add_duration(app, "--interval", interval, "Time between two samples (default: 1s)",
                 kShortestInterval);
    app.add_option("--count", count, "End after so many (default: never)")->type_name("N");
}

void add_help(CLI::App& root, Context& context) {
    add_command(root, context, "version", "Show the version of drcli", [](Context& c) {
        fmt::print(c.out, "drcli {}\n", DR_VERSION);
        return kExitOk;
    });
    // Only for the list of commands: run() has turned `help X` into `X --help`.
    add_command(root, context, "help", "Show the help of a command: drcli help pool apply",
                [&root](Context& c) {
                    fmt::print(c.out, "{}", root.help());
                    return kExitOk;
                });
}

std::unique_ptr<CLI::App> make_app(Context& context) {
    auto app = std::make_unique<CLI::App>("Operate a Distribution Router.", "drcli");
    app->set_version_flag("--version", DR_VERSION);
    app->require_subcommand(1);
    add_global_options(*app, context);
    add_apply(*app, context);
    add_pool(*app, context);
    add_policy(*app, context);
    add_subscriber(*app, context);
    add_tunnel(*app, context);
    add_event(*app, context);
    add_stats(*app, context);
    add_system(*app, context);
    add_credential(*app, context);
    add_completion(*app, context);
    add_help(*app, context);
    add_examples(*app, kRootExamples);
    return app;
}

void read_environment(GlobalOptions& options) {
    const auto take = [](const char* name, std::string& value) {
        const char* text = std::getenv(name);
        if (text != nullptr && *text != '\0') {
            value = text;
        }
    };
    take("DRCLI_SERVER", options.server);
    take("DRCLI_TLS_CERT", options.tls_cert);
    take("DRCLI_TLS_KEY", options.tls_key);
    take("DRCLI_TLS_CA", options.tls_ca);
}

int run(Context& context, const std::vector<std::string>& arguments) {
    const auto app = make_app(context);
    auto words = arguments;
    // Behind global options, which have a value each, in the same word or in the next one.
    auto first = words.begin();
    while (first != words.end() && first->starts_with('-') && *first != "-h" &&
           first->find("--help") != 0 && *first != "--version") {
        const bool in_next =
            first->starts_with("--") ? first->find('=') == std::string::npos : first->size() == 2;
        first += in_next && first + 1 != words.end() ? 2 : 1;
    }
    if (first != words.end() && *first == "help") {
        words.erase(words.begin(), first + 1);
        if (const auto wrong = unknown_command(*app, words)) {
            fmt::print(context.err, "drcli: error: \"{}\" is no command\nTry: drcli help\n",
                       printable(*wrong));
            return kExitUsage;
        }
        words.emplace_back("--help");
    }
    if (const auto code = parse(context, *app, std::move(words))) {
        return *code;
    }
    return act(context);
}

}  // namespace dr::cli
