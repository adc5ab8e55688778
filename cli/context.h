// What every command gets: its streams, the global options, and the way to the server.
#pragma once

#include <grpcpp/channel.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <string>

namespace dr::cli {

// Interfaces for scripts.
inline constexpr int kExitOk = 0;
inline constexpr int kExitRefused = 1;  // the server refused it, or there is no such object
inline constexpr int kExitUsage = 2;    // wrong command line, unreadable file, or no connection

enum class Output { Table, Json };

struct GlobalOptions {
    std::string server = "unix:/run/dr/drd.sock";
    std::string tls_cert;
    std::string tls_key;
    std::string tls_ca;
    Output output = Output::Table;
};

struct Context {
    std::FILE* in = stdin;
    std::FILE* out = stdout;
    std::FILE* err = stderr;
    GlobalOptions options;
    // The chosen command; returns the exit code. Set while the command line is parsed.
    std::function<int(Context&)> action;

    [[nodiscard]] bool json() const { return options.output == Output::Json; }
    // Connects at the first call. Throws Failure(kExitUsage) when that is not possible.
    const std::shared_ptr<grpc::Channel>& channel();

  private:
    std::shared_ptr<grpc::Channel> channel_;
};

// Throws std::system_error when what was printed could not be written.
void check_written(std::FILE* out);

}  // namespace dr::cli
