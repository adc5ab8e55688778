// From a transaction's records to changes: decoded, and the last word on each object kept.
#include "dataplane/writer/changes.h"

#include <algorithm>
#include <string>
#include <utility>

namespace dr::southbound {
namespace {

// Keeps the last change of each id.
template <typename Change>
void keep_last(std::vector<Change>* changes) {
    std::stable_sort(changes->begin(), changes->end(),
                     [](const Change& a, const Change& b) { return a.id < b.id; });
    auto out = changes->begin();
    for (auto in = changes->begin(); in != changes->end(); ++in) {
        if (in + 1 != changes->end() && (in + 1)->id == in->id) continue;
        if (out != in) *out = std::move(*in);
        ++out;
    }
    changes->erase(out, changes->end());
}

template <typename View, typename Stored, typename Change>
bool decode_record(Bytes body, bool upsert, std::uint32_t record, std::vector<Change>* changes,
                   Stored (*stored)(const View&), std::string* why) {
    if (upsert) {
        View view;
        if (!decode(body, &view, why)) return false;
        Change change{};
        change.record = record;
        change.upsert = stored(view);
        if constexpr (requires { view.record.id; })
            change.id = view.record.id;
        else
            change.id = view.id;
        changes->push_back(std::move(change));
        return true;
    }
    DeleteRecord deleted;
    if (!decode(body, &deleted, why)) return false;
    Change change{};
    change.id = deleted.id;
    change.record = record;
    changes->push_back(std::move(change));
    return true;
}

PoolRecord pool_record(const PoolView& view) {
    PoolRecord record;
    std::memcpy(&record, view.body.data(), sizeof record);
    return record;
}

template <typename View>
View itself(const View& view) {
    return view;
}

}  // namespace

Outcome decode(const Transaction& transaction, Changes* changes) {
    for (std::size_t i = 0; i < transaction.size(); ++i) {
        const Bytes body = transaction.body(i);
        const auto record = static_cast<std::uint32_t>(i);
        const Type type = transaction.type(i);
        std::string why;
        bool good = false;
        switch (type) {
            case Type::UpsertPool:
            case Type::DeletePool:
                good = decode_record<PoolView>(body, type == Type::UpsertPool, record,
                                               &changes->pools, pool_record, &why);
                break;
            case Type::UpsertPolicy:
            case Type::DeletePolicy:
                good = decode_record<PolicyView>(body, type == Type::UpsertPolicy, record,
                                                 &changes->policies, itself<PolicyView>, &why);
                break;
            case Type::UpsertSubscriber:
            case Type::DeleteSubscriber:
                good = decode_record<SubscriberView>(body, type == Type::UpsertSubscriber, record,
                                                     &changes->subscribers, itself<SubscriberView>,
                                                     &why);
                break;
            default:
                why = "message type " + std::to_string(static_cast<std::uint16_t>(type)) +
                      " is no record";
        }
        if (!good) return {Status::Malformed, record, std::move(why)};
    }
    keep_last(&changes->pools);
    keep_last(&changes->policies);
    keep_last(&changes->subscribers);
    return {};
}

}  // namespace dr::southbound
