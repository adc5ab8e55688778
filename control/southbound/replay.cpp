// Sends a snapshot of the store to the data plane and removes surplus rows.
#include "control/southbound/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "control/model/catalog_plan.h"

namespace dr::control {
namespace {

namespace sb = southbound;

// Records in one transaction of a replay: enough to hide the round trip, few enough that the
// writer of the data plane is not held up for long.
constexpr std::uint32_t kChunk = 4096;
// Records that may be left out: each costs another transaction. With more, the data plane and the
// store do not fit each other.
constexpr std::size_t kMaxLeftOut = 4096;
constexpr std::size_t kMaxNamed = 8;

Kind kind_of_type(sb::Type type) {
    if (type == sb::Type::UpsertPool) return Kind::Pool;
    return type == sb::Type::UpsertPolicy ? Kind::Policy : Kind::Subscriber;
}

}  // namespace

void send_transaction(Channel& channel, std::uint64_t id, const Transaction& transaction) {
    channel.send(sb::Type::TxnBegin, sb::TxnBegin{id});
    channel.send(transaction.bytes());
    channel.send(sb::Type::TxnCommit, sb::TxnCommit{transaction.force ? sb::kForce : 0, 0});
}

sb::Result Replay::run() {
    channel_.send(sb::Type::SyncBegin);
    send_objects();
    flush(building_);
    settle();
    if (aside_.records() > 0) {
        last_ = true;
        flush(aside_);
        settle();
    }
    channel_.send(sb::Type::SyncEnd, sb::TxnCommit{may_force_ ? sb::kForce : 0, 0});
    const sb::Result result = receive_result(channel_, sb::Type::SyncResult);
    if (result.status != static_cast<std::uint32_t>(sb::Status::Ok))
        throw RefusalError("the data plane refuses the end of the replay: " + text_of(result));
    return result;
}

void Replay::send_objects() {
    view_.snapshot->for_each(Kind::Pool, [&](std::uint32_t id, std::string_view bytes) {
        v1::Pool pool;
        pool.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
        add(sb::Type::UpsertPool, pool_record(pool, id));
        return true;
    });
    view_.snapshot->for_each(Kind::Policy, [&](std::uint32_t id, std::string_view bytes) {
        v1::Policy policy;
        policy.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
        add(sb::Type::UpsertPolicy, policy_record(policy, id));
        return true;
    });
    v1::Subscriber subscriber;
    view_.snapshot->for_each(Kind::Subscriber, [&](std::uint32_t id, std::string_view bytes) {
        subscriber.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
        for (const auto& tunnel : subscriber.tunnels())
            if (TunnelIds::slot(tunnel.id()) >= view_.tunnel_capacity) {
                left_out_.push_back(
                    {Kind::Subscriber, id,
                     fmt::format("tunnel id {} has slot {}, which must be below {}", tunnel.id(),
                                 TunnelIds::slot(tunnel.id()), view_.tunnel_capacity)});
                return true;
            }
        auto record = subscriber_record(subscriber, view_.policies.at(subscriber.policy()));
        if (const auto secrets = keys_of(subscriber)) append_keys(record, subscriber, *secrets);
        add(sb::Type::UpsertSubscriber, record);
        return true;
    });
}

// The keys of a subscriber that has any; only those are read, because most may have none.
std::optional<store::Secrets> Replay::keys_of(const v1::Subscriber& subscriber) {
    const bool keyed = std::any_of(subscriber.tunnels().begin(), subscriber.tunnels().end(),
                                   [](const auto& t) { return t.key_number() != 0; });
    if (!keyed) return std::nullopt;
    store::Secrets secrets;
    const auto bytes = view_.snapshot->secrets(subscriber.id());
    if (bytes) secrets.ParseFromString(*bytes);
    return secrets;
}

void Replay::add(sb::Type type, const std::vector<std::uint8_t>& record) {
    if (building_.records() >= kChunk || !building_.fits(record.size())) flush(building_);
    building_.upsert(type, record);
}

void Replay::flush(Transaction& transaction) {
    if (transaction.records() == 0) return;
    while (outstanding_.size() >= sb::kMaxOutstanding) answer();
    transaction.force = transaction.force || may_force_;
    outstanding_.push_back({next_++, std::move(transaction)});
    transaction = {};
    send_transaction(channel_, outstanding_.back().id, outstanding_.back().transaction);
}

void Replay::settle() {
    while (!outstanding_.empty()) answer();
}

void Replay::answer() {
    const sb::Result result = receive_result(channel_, sb::Type::TxnResult);
    Sent sent = std::move(outstanding_.front());
    outstanding_.pop_front();
    if (result.id != sent.id)
        throw ChannelError(fmt::format("data plane: an answer to transaction {} where {} is due",
                                       result.id, sent.id));
    if (result.status == static_cast<std::uint32_t>(sb::Status::Ok)) return;
    const bool own_fault = result.status == static_cast<std::uint32_t>(sb::Status::Malformed) ||
                           result.status == static_cast<std::uint32_t>(sb::Status::BadReference);
    if (own_fault && result.record < sent.transaction.records() && left_out_.size() < kMaxLeftOut)
        return leave_out(sent, result);
    if (result.status != static_cast<std::uint32_t>(sb::Status::Conflict) || last_ ||
        result.record >= sent.transaction.records())
        throw RefusalError("the data plane refuses the replay: " + text_of(result));
    put_aside(sent, result.record);
}

void Replay::leave_out(Sent& sent, const sb::Result& result) {
    sb::Type type{};
    const auto body = sent.transaction.take(result.record, &type);
    std::uint32_t id = 0;  // the first field of each record
    std::memcpy(&id, body.data(), sizeof id);
    left_out_.push_back({kind_of_type(type), id, text_of(result)});
    flush(sent.transaction);
}

std::string Replay::left_out() {
    std::string text;
    const std::size_t named = std::min(left_out_.size(), kMaxNamed);
    for (std::size_t i = 0; i < named; ++i) {
        const LeftOut& item = left_out_[i];
        view_.snapshot->for_each(item.kind, [&](std::uint32_t id, std::string_view bytes) {
            if (id != item.id) return true;
            const Object object = parse_object(item.kind, bytes);
            text += fmt::format("{}{}/{} is not installed: {}", text.empty() ? "" : "; ",
                                kind_name(item.kind), name_of_object(object), item.why);
            return false;
        });
    }
    if (left_out_.size() > named)
        text += fmt::format("; and {} more are not installed", left_out_.size() - named);
    return text;
}

void Replay::put_aside(Sent& sent, std::uint32_t record) {
    const auto body = sent.transaction.take(record);
    if (!aside_.fits(body.size()))
        throw RefusalError("the data plane holds too many conflicting rows; restart it");
    aside_.upsert(sb::Type::UpsertSubscriber, body);
    if (!deleted_gone_) delete_gone();
    flush(sent.transaction);
}

void Replay::delete_gone() {
    deleted_gone_ = true;
    Transaction gone;
    std::uint32_t next = 1;
    const auto erase_until = [&](std::uint32_t end) {
        for (; next < end; ++next) {
            gone.erase(sb::Type::DeleteSubscriber, next);
            if (gone.records() == sb::kMaxTxnRecords) flush(gone);
        }
    };
    view_.snapshot->for_each(Kind::Subscriber, [&](std::uint32_t id, std::string_view) {
        erase_until(id);
        next = id + 1;
        return true;
    });
    erase_until(view_.next_id);
    flush(gone);
}

}  // namespace dr::control
