// The table writer's parts, put together. Internal.
//
//   transaction --decode--> Changes --Planner--> Plan --Applier--> tables, and a batch of the
//   graveyard, to be given back after the grace period
//
// | part | what it owns |
// |---|---|
// | Books | what is installed, as drd said it; read by the planner |
// | LiveBook | what liveness has found out |
// | MapPool, SubscriberTable, TunnelTable | rows that workers read |
// | Graveyard | rows that are unpublished, until their grace period is over |
// | SyncGuard | how much a sync has taken away |
#pragma once

#include "dataplane/writer/applier.h"
#include "dataplane/writer/planner.h"
#include "dataplane/writer/table_writer.h"

namespace dr::southbound {

struct TableWriter::Core {
    Core(Tables& tables, Rib& rib, WriterHooks hooks);

    // Gives back what outlived its grace period. false: nothing waits any more.
    bool reclaim();
    void report_memory(State* state) const;
    [[nodiscard]] Memory records_memory() const;
    [[nodiscard]] Memory keys_memory() const;

    Tables& tables;
    Rib& rib;
    Books books;
    MapPool maps;
    SubscriberTable subscribers;
    TunnelTable tunnels;
    Graveyard graveyard;
    LiveBook live;
    SyncGuard guard;
    Planner planner;
    Applier applier;
};

}  // namespace dr::southbound
