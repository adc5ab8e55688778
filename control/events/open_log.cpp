// Opens the event log; sets a damaged file aside.
#include "control/events/open_log.h"

#include <cstdio>
#include <filesystem>

#include "base/printable.h"
#include "control/sqlite/sqlite_handle.h"

namespace dr::control {

std::unique_ptr<EventLog> open_event_log(const std::string& path, EventLog::Bounds bounds) {
    try {
        return std::make_unique<EventLog>(path, bounds);
    } catch (const sqlite::CorruptError& e) {
        std::fprintf(stderr, "drd: %s; it is kept as %s.damaged, and a new one begins\n",
                     printable(e.what()).c_str(), path.c_str());
    }
    for (const char* part : {"", "-wal", "-shm"}) {
        std::error_code none;
        std::filesystem::rename(path + part, path + ".damaged" + part, none);
    }
    return std::make_unique<EventLog>(path, bounds);
}

}  // namespace dr::control
