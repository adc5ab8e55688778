// The store in one SQLite file.
//
// Crash safety: WAL with synchronous=FULL, so each commit() ends with an fsync of the log; an
// acknowledged batch survives a kill, a panic and a power cut, and a batch is stored whole or not
// at all. Bulk provisioning pays one fsync for each batch, not for each object. The log is
// checkpointed by SQLite itself.
//
// Schema version 2 (PRAGMA user_version); a file of version 1 is brought up to date, one with a
// newer version is refused.
//   meta(key, value)            revision, next_id, drain, synced_uuid
//   pools, policies, subscribers(id, object)   object: the serialized dr.v1 message
//   secrets(id, object)         by subscriber: its tunnels' keys and credentials
//   freed_slots(slot, id)       tunnel slots used before and free now; id: the last one
// Names are not indexed here: the catalog keeps all of them in memory.
#pragma once

#include <memory>
#include <string>

#include "control/store/store.h"

namespace dr::control {

// Opens or creates `path`, and takes an exclusive lock beside it ("PATH.lock") for its life, so
// that two daemons never write one store. Throws StoreError with the path and the reason.
std::unique_ptr<Store> open_sqlite_store(const std::string& path);

}  // namespace dr::control
