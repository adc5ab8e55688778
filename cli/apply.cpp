// `drcli apply`: a file of resources to the server, by stream.
#include <fmt/format.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/printable.h"
#include "cli/apply_report.h"
#include "cli/commands.h"
#include "cli/errors.h"
#include "cli/input.h"
#include "cli/object_help.h"
#include "cli/object_scanner.h"
#include "cli/progress.h"
#include "cli/resource_json.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

constexpr int kExitInterrupted = 130;
constexpr std::size_t kMostHeld = 10;
constexpr int kBatchItems = 1000;
// The server takes messages of 128 KiB: room for a batch that is nearly full, and one more object.
constexpr std::size_t kBatchBytes = 48 * 1024;
constexpr std::size_t kObjectBytes = 64 * 1024;
// The server's wording, so that the message is the same whichever end refuses an object.
constexpr const char* kNotApplied = "another object of the atomic set is refused";

struct ApplyOptions {
    std::string file;
    bool atomic = false;
    bool check_revision = false;
    std::string kind;  // "policy": objects of other kinds are refused; empty: all kinds
};

std::atomic<bool> interrupted{false};

// The first Ctrl-C ends the input, the second one drcli.
class InterruptOnce {
  public:
    InterruptOnce() {
        interrupted = false;
        struct sigaction action {};
        action.sa_handler = [](int) { interrupted = true; };
        action.sa_flags = static_cast<int>(SA_RESETHAND);
        sigaction(SIGINT, &action, &before_);
    }
    ~InterruptOnce() { sigaction(SIGINT, &before_, nullptr); }
    InterruptOnce(const InterruptOnce&) = delete;
    InterruptOnce& operator=(const InterruptOnce&) = delete;

  private:
    struct sigaction before_ {};
};

// Fields that the server sets; they are ignored when an object is read back.
void clear_revision(dr::v1::Resource& resource) {
    if (resource.has_pool()) {
        resource.mutable_pool()->clear_revision();
    } else if (resource.has_policy()) {
        resource.mutable_policy()->clear_revision();
    } else if (resource.has_subscriber()) {
        resource.mutable_subscriber()->clear_revision();
    }
}

// The stream: batches go out in the caller's thread, answers come in by one of its own.
class ApplyStream {
  public:
    ApplyStream(Context& context, ApplyReport& report, bool atomic)
        : report_(report),
          stub_(dr::v1::Resources::NewStub(context.channel())),
          stream_(stub_->Apply(&client_)),
          receiver_([this] { receive(); }) {
        batch_.mutable_options()->set_atomic(atomic);
    }
    ~ApplyStream() {
        if (receiver_.joinable()) {
            client_.TryCancel();
            receiver_.join();
        }
    }
    ApplyStream(const ApplyStream&) = delete;
    ApplyStream& operator=(const ApplyStream&) = delete;

    // False when the stream is broken: finish() knows why.
    bool add(std::uint64_t ordinal, dr::v1::Resource&& resource) {
        batch_bytes_ += resource.ByteSizeLong();
        auto* item = batch_.add_items();
        item->set_ordinal(ordinal);
        *item->mutable_resource() = std::move(resource);
        return batch_.items_size() < kBatchItems && batch_bytes_ < kBatchBytes ? true : flush();
    }
    bool flush() {
        if (batch_.items().empty() || broken_) {
            return !broken_;
        }
        broken_ = !stream_->Write(batch_);
        batch_.Clear();
        batch_bytes_ = 0;
        return !broken_;
    }
    // Nothing of an atomic stream is applied after this.
    void abandon() { client_.TryCancel(); }

    // All answers are in when this returns.
    grpc::Status finish() {
        flush();
        stream_->WritesDone();
        receiver_.join();
        return stream_->Finish();
    }

  private:
    void receive() {
        dr::v1::ApplyResponse response;
        while (stream_->Read(&response)) {
            for (const auto& result : response.results()) {
                report_.answered(result);
            }
        }
    }

    ApplyReport& report_;
    grpc::ClientContext client_;
    std::unique_ptr<dr::v1::Resources::Stub> stub_;
    std::unique_ptr<grpc::ClientReaderWriter<dr::v1::ApplyRequest, dr::v1::ApplyResponse>> stream_;
    dr::v1::ApplyRequest batch_;
    std::size_t batch_bytes_ = 0;
    bool broken_ = false;
    std::thread receiver_;
};

class Apply {
  public:
    Apply(Context& context, const ApplyOptions& options)
        : context_(context),
          options_(options),
          input_(options.file, fileno(context.in)),
          progress_(context.err, input_.size()),
          report_({.out = context.out,
                   .err = context.err,
                   .json = context.json(),
                   .before_error = [this] { progress_.clear(); }}),
          scanner_([this](std::span<char> buffer) { return input_.read(buffer); }),
          stream_(context, report_, options.atomic) {
        input_.on_idle([this] {
            stream_.flush();
            std::fflush(context_.out);
        });
        input_.on_signal([] { return interrupted.load(); });
    }

    int run() {
        std::string read_error;
        try {
            send_all();
        } catch (const Failure& failure) {
            read_error = failure.what();
        }
        // After this everything has been sent, and only answers are awaited.
        const bool stopped = interrupted;
        const bool cut_short = !read_error.empty() || stopped;
        if (cut_short && options_.atomic) {
            abandon();
        }
        const grpc::Status status = stream_.finish();
        progress_.clear();
        conclude(status, read_error);
        if (stopped) {
            fmt::print(context_.err, "drcli: interrupted: {}\n",
                       options_.atomic ? "nothing was applied"
                                       : "what is counted was answered, the rest was not sent");
            return kExitInterrupted;
        }
        return exit_code();
    }

  private:
    void send_all() {
        ScannedObject object;
        while (!interrupted && scanner_.next(object)) {
            if (!send(object)) {
                return;
            }
            progress_.update(scanner_.bytes_read(), object.number);
        }
        tell_held();
    }

    // A file of another format is reported once, and not for each of its lines.
    void hold(const ApplyReport::Place& place, const ParsedResource& parsed) {
        held_.emplace_back(place, parsed);
        if (held_.size() < kMostHeld) {
            return;
        }
        held_.clear();
        throw Failure(
            kExitUsage,
            fmt::format("{}: none of its first {} lines begins a JSON object: it must be objects, "
                        "one a line, or one JSON array (drcli apply --help)",
                        input_.name(), kMostHeld));
    }
    void tell_held() {
        for (const auto& [place, parsed] : held_) {
            report_.refused_here(place, parsed.name, parsed.violation);
        }
        held_.clear();
    }

    bool send(const ScannedObject& object) {
        // The line is the number by which an operator knows it; elements may share one.
        const bool in_array = scanner_.is_array();
        const ApplyReport::Place place{in_array ? object.number : object.line, object.line,
                                       in_array};
        auto parsed = parse_resource(object.text);
        if (!object.error.empty()) {
            parsed.violation.clear_field();
            parsed.violation.set_description(object.error);
        }
        if (parsed.ok() && !parsed.name.starts_with(options_.kind)) {
            refuse_kind(parsed);
        }
        if (const auto bytes = parsed.resource.ByteSizeLong();
            parsed.ok() && bytes > kObjectBytes) {
            parsed.name = shown(parsed.name);
            parsed.violation.set_description(
                fmt::format("the object takes {} bytes; the limit is {}", bytes, kObjectBytes));
        }
        if (!object.error.empty() && !any_object_) {
            if (options_.atomic) {
                abandon();
            }
            hold(place, parsed);
            return true;
        }
        any_object_ = true;
        tell_held();
        if (!options_.check_revision) {
            clear_revision(parsed.resource);
        }
        if (!parsed.ok()) {
            report_.refused_here(place, parsed.name, parsed.violation);
            if (options_.atomic) {
                abandon();
            }
            return true;
        }
        report_.sent(place, options_.atomic ? parsed.name : std::string());
        return abandoned_ || stream_.add(place.number, std::move(parsed.resource));
    }

    void refuse_kind(ParsedResource& parsed) const {
        parsed.violation.set_field(parsed.name.substr(0, parsed.name.find('/')));
        parsed.violation.set_description(fmt::format(
            "drcli {0} apply takes {0} objects only; drcli apply takes every kind", options_.kind));
    }

    void abandon() {
        if (!abandoned_) {
            abandoned_ = true;
            stream_.abandon();
        }
    }

    void conclude(const grpc::Status& status, const std::string& read_error) {
        const bool refused = report_.counts().refused != 0;
        report_.conclude(options_.atomic && (refused || abandoned_) ? kNotApplied : "");
        if (!context_.json()) {
            write_summary();
        }
        if (!read_error.empty()) {
            throw Failure(kExitUsage, read_error);
        }
        if (!abandoned_ && !(options_.atomic && refused)) {
            check(context_, status);
        }
    }

    void write_summary() {
        const auto counts = report_.counts();
        std::string text =
            fmt::format("{} object{}: {} created, {} updated, {} unchanged, {} refused",
                        counts.total(), counts.total() == 1 ? "" : "s", counts.created,
                        counts.updated, counts.unchanged, counts.refused);
        if (counts.unanswered != 0) {
            text += fmt::format(", {} without an answer", counts.unanswered);
        }
        fmt::print(context_.out, "{}\n", text);
    }

    int exit_code() {
        const auto counts = report_.counts();
        if (counts.unanswered != 0) {
            throw Failure(kExitRefused, fmt::format("the server left {} objects without an answer",
                                                    counts.unanswered));
        }
        return counts.refused == 0 ? kExitOk : kExitRefused;
    }

    Context& context_;
    const ApplyOptions& options_;
    Input input_;
    Progress progress_;
    ApplyReport report_;
    ObjectScanner scanner_;
    ApplyStream stream_;
    bool abandoned_ = false;
    bool any_object_ = false;
    std::vector<std::pair<ApplyReport::Place, ParsedResource>> held_;
};

CLI::App* add_apply_to(CLI::App& parent, Context& context, const std::string& kind,
                       const std::string& help) {
    auto options = std::make_shared<ApplyOptions>();
    options->kind = kind;
    auto* command = add_command(parent, context, "apply", help, [options](Context& c) {
        const InterruptOnce signals;
        return Apply(c, *options).run();
    });
    command
        ->add_option("-f,--file", options->file,
                     "JSON objects, one a line, or one JSON array; - is standard input")
        ->required()
        ->type_name("FILE");
    command->add_flag("--atomic", options->atomic, "All or nothing");
    command->add_flag("--check-revision", options->check_revision,
                      "Refuse an object whose revision is not the stored one (default: it is "
                      "output, and not looked at)");
    return command;
}

}  // namespace

void add_apply(CLI::App& root, Context& context) {
    auto* command = add_apply_to(root, context, "", "Create or update the resources of a file");
    add_examples(*command,
                 "drcli apply -f sites.json\n"
                 "drcli apply --atomic -f - < sites.json\n"
                 "drcli apply -f sites.json -o json | jq 'select(.outcome == \"REFUSED\")'\n"
                 "drcli -o json subscriber list --all | drcli apply -f -\n\n" +
                     object_help(""));
}

void add_group_apply(CLI::App& group, Context& context, const std::string& kind) {
    add_apply_to(group, context, kind,
                 "As drcli apply, of a file that holds " + kind + " objects only")
        ->footer(object_help(kind));
}

}  // namespace dr::cli
