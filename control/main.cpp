// drd, the control daemon: store -> catalog -> API and the link to the data plane.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <optional>

#include "base/printable.h"
#include "control/api/change_feed.h"
#include "control/api/server.h"
#include "control/daemon/listener.h"
#include "control/daemon/options.h"
#include "control/daemon/privileges.h"
#include "control/daemon/server_limits.h"
#include "control/events/event_tail.h"
#include "control/events/open_log.h"
#include "control/events/told_changes.h"
#include "control/model/catalog.h"
#include "control/own_addresses.h"
#include "control/signalling/server.h"
#include "control/southbound/link.h"
#include "control/store/sqlite.h"
#include "control/telemetry/learned_ends.h"
#include "control/telemetry/live_proto.h"
#include "pki/peer_verifier.h"
#include "process/files.h"
#include "process/paths.h"
#include "process/rights.h"

namespace dr::control {
namespace {

// Blocked in every thread, so that main alone takes them.
sigset_t block_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    return set;
}

// SIGHUP is ignored: drd reads no file again, and goes on when its terminal closes.
void wait_for_end(const sigset_t& signals) {
    for (int signal = SIGHUP; signal == SIGHUP;) {
        ::sigwait(&signals, &signal);
        if (signal == SIGHUP)
            std::fputs("drd: info: SIGHUP: goes on; a changed flag or file needs a restart\n",
                       stderr);
    }
}

// Narrows the modes of a database and of SQLite's files beside it, which an earlier drd may have
// left wider. New files have the umask's mode. A link to a database is followed, as SQLite does:
// only a user who owns drd's files could have made it.
void keep_to_owner(const std::string& path) {
    std::error_code none;
    const std::string real = std::filesystem::weakly_canonical(path, none).string();
    const std::string& database = none ? path : real;
    std::string why;
    for (const std::string& file : {path + ".lock", database, database + "-wal", database + "-shm"})
        if (!process::narrow_file(file, 0600, &why)) throw StartError(why);
}

void limit_rights(const Options& options) {
    // No other user of the machine may read keys and provisioned objects.
    ::umask(0077);
    std::string why;
    if (!process::limit_at_start(options.allow_core_dumps, &why))
        throw StartError("own rights cannot be limited: " + why);
}

std::unique_ptr<Store> open_store(const Options& options, const Privileges& privileges) {
    privileges.make_secret_directory(process::directory_of(options.store));
    const Privileges::Acting acting(privileges);
    keep_to_owner(options.store);
    return open_sqlite_store(options.store);
}

std::unique_ptr<EventLog> open_events(const Options& options, const Privileges& privileges) {
    const std::string path = options.event_log_path();
    privileges.make_secret_directory(process::directory_of(path));
    const Privileges::Acting acting(privileges);
    keep_to_owner(path);
    return open_event_log(path, EventLog::Bounds{options.event_log_size,
                                                 std::int64_t{options.event_log_days} * 86'400});
}

std::unique_ptr<SignallingServer> open_signalling(const Options& options,
                                                  const Privileges& privileges,
                                                  Credentials& credentials, SignallingHub& hub) {
    // A CA that is created now belongs to the user that drd runs as.
    const Privileges::Acting acting(privileges);
    try {
        if (!options.tls_ca.empty()) credentials.keep_apart(options);
    } catch (const pki::PkiError& e) {
        throw StartError(e.what());
    }
    if (options.signalling.empty()) return nullptr;
    return std::make_unique<SignallingServer>(options, credentials, hub);
}

bool is_up(Link& link, std::uint32_t tunnel) {
    const auto live = link.live();
    const auto state = live ? live->tunnel(tunnel) : std::nullopt;
    return state && to_state(state->state) == v1::TunnelStatus::UP;
}

int run(const Options& options) {
    limit_rights(options);
    pki::require_tls13();
    raise_descriptor_limit();
    // gRPC logs a line for each connection without a handshake; drd itself logs what matters.
    ::setenv("GRPC_VERBOSITY", "NONE", 0);
    const sigset_t signals = block_signals();
    const Privileges privileges(options.user);
    const auto store = open_store(options, privileges);
    Catalog catalog(*store);
    ChangeFeed feed;
    Credentials credentials(options);
    Journal journal;
    SignallingHub hub(catalog, credentials.drs(), credentials.others());
    hub.set_journal(journal);
    Link link(catalog, options.dataplane);
    const auto event_log = open_events(options, privileges);
    EventTail events([&] { return link.live(); }, catalog, *event_log, journal,
                     [&] {
                         const LinkStatus s = link.status(false);
                         const bool known =
                             s.state == LinkState::InSync || s.state == LinkState::Incomplete;
                         return known ? std::optional(EventTail::Troubles{s.left_out, s.around_own})
                                      : std::nullopt;
                     });
    catalog.set_installer(link);
    catalog.set_reserved(credentials.reserved());
    LearnedEnds learned([&] { return link.live(); });
    catalog.set_learned([&](const IpPrefix& prefix) { return learned.inside(prefix); });
    OwnAddresses own;
    catalog.set_surroundings(
        {[&](const IpAddress& address) { return link.live() == nullptr || own.has(address); },
         [&](std::uint32_t tunnel) { return is_up(link, tunnel); }});
    catalog.set_listener([&](const auto& changes) {
        tell_changes(journal, changes);
        feed.publish(changes);
        hub.publish(changes);
    });
    const auto signalling = open_signalling(options, privileges, credentials, hub);
    Server server(options, privileges,
                  {catalog, link, feed, credentials, hub, *event_log, events, journal});
    privileges.drop();
    const HeapTrimmer trimmer;
    link.start();
    events.start();
    std::puts("drd: ready");
    std::fflush(stdout);
    wait_for_end(signals);
    hub.stop();
    if (signalling) signalling->stop();
    server.stop();
    events.stop();
    link.stop();
    return 0;
}

}  // namespace
}  // namespace dr::control

int main(int argc, char** argv) {
    // Messages of a thousand small objects are allocated and freed. For each larger allocation in
    // between, glibc would merge its fast bins chunk by chunk, which took most of the time of a
    // bulk load.
    ::mallopt(M_MXFAST, 0);
    dr::control::Options options;
    int exit_code = 0;
    if (!dr::control::parse_options(argc, argv, options, exit_code)) return exit_code;
    try {
        return dr::control::run(options);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "drd: error: %s\n", dr::printable_lines(e.what()).c_str());
        return 1;
    }
}
