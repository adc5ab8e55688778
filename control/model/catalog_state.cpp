// What the catalog knows beside the objects: drain, the data plane's incarnation and capacity.
#include "control/model/catalog.h"

namespace dr::control {

Failure Catalog::set_drain(bool drain) {
    const std::lock_guard writing(writer_);
    Batch batch;
    batch.meta = meta_;
    batch.meta.drain = drain;
    try {
        store_.commit(batch);
    } catch (const StoreError& e) {
        return {Code::Unavailable, e.what(), {}, false};
    }
    meta_.drain = drain;
    if (installer_ != nullptr) installer_->set_drain(drain);
    return {};
}

bool Catalog::drain() {
    const std::lock_guard writing(writer_);
    return meta_.drain;
}

std::array<std::uint64_t, southbound::kTables> Catalog::rows() {
    const std::shared_lock lock(index_mutex_);
    return index_.rows();
}

Catalog::View Catalog::view(const std::function<void()>& prepare) {
    const std::lock_guard writing(writer_);
    prepare();
    View view;
    view.revision = meta_.revision;
    view.digest = index_.digest();
    view.rows = index_.rows();
    view.synced_uuid = meta_.synced_uuid;
    view.next_id = meta_.next_id;
    view.drain = meta_.drain;
    view.tunnel_capacity = meta_.tunnel_capacity;
    for (const auto& [name, policy] : index_.policies()) view.policies[name] = policy.id;
    view.snapshot = store_.snapshot();
    return view;
}

std::unique_ptr<Snapshot> Catalog::snapshot(std::int64_t& revision) {
    const std::lock_guard writing(writer_);
    revision = meta_.revision;
    return store_.snapshot();
}

void Catalog::note_tunnel_capacity(std::uint32_t tunnels) {
    const std::lock_guard writing(writer_);
    if (tunnels == 0) return;
    if (meta_.tunnel_capacity != tunnels) {
        Batch batch;
        batch.meta = meta_;
        batch.meta.tunnel_capacity = tunnels;
        store_.commit(batch);
        meta_.tunnel_capacity = tunnels;
    } else if (ids_.confirmed()) {
        return;
    }
    const std::unique_lock lock(index_mutex_);
    ids_.set_capacity(tunnels);
}

void Catalog::mark_synced(const std::string& uuid) {
    const std::lock_guard writing(writer_);
    if (meta_.synced_uuid == uuid) return;
    Batch batch;
    batch.meta = meta_;
    batch.meta.synced_uuid = uuid;
    store_.commit(batch);
    meta_.synced_uuid = uuid;
}

}  // namespace dr::control
