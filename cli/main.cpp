// drcli: the operator's command line, a gRPC client of drd.
#include <csignal>
#include <cstdlib>

#include "cli/app.h"

int main(int argc, char** argv) {
    // `drcli ... | head` ends as every other filter does, also where the parent ignored it.
    std::signal(SIGPIPE, SIG_DFL);
    // gRPC's own log lines would mix with drcli's output.
    setenv("GRPC_VERBOSITY", "NONE", 0);
    dr::cli::Context context;
    dr::cli::read_environment(context.options);
    return dr::cli::run(context, {argv + 1, argv + argc});
}
