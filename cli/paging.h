// Lists of any length: pages are fetched when needed, and written at once.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/connection.h"
#include "cli/errors.h"
#include "cli/json.h"
#include "cli/table.h"

namespace dr::cli {

inline constexpr std::uint64_t kPageSize = 1000;

// How much of a list is shown: by default the beginning, not a million lines.
struct ListLimit {
    static constexpr std::uint64_t kDefault = 1000;
    std::uint64_t count = 0;  // --limit; 0: not given
    bool all = false;         // --all

    [[nodiscard]] std::uint64_t objects() const {
        return all ? UINT64_MAX : count != 0 ? count : kDefault;
    }
};

inline void add_limit_options(CLI::App& command, ListLimit& limit) {
    auto* count = command.add_option("--limit", limit.count, "At most so many (default: 1000)")
                      ->type_name("N")
                      ->check([](const std::string& text) {
                          const bool number =
                              text.find_first_not_of("0123456789") == std::string::npos;
                          return number && text.find_first_not_of('0') != std::string::npos
                                     ? ""
                                     : "must be 1 or more, not " + text + "; --all shows all";
                      });
    command.add_flag("--all", limit.all, "All, however many")->excludes(count);
}

// Calls page(objects) for each page until there are no more or the limit is reached. The server
// bounds its work for a page: one may have fewer objects than asked for, or none, and not be the
// last. call(client_context, request, &response) -> status; objects_of(response) -> pointer to the
// repeated field.
template <class Response, class Request, class Call, class ObjectsOf, class Page>
void for_each_page(Context& context, Request request, const ListLimit& limit, Call&& call,
                   ObjectsOf&& objects_of, Page&& page) {
    std::uint64_t left = limit.objects();
    do {
        request.set_page_size(static_cast<std::uint32_t>(std::min(left, kPageSize)));
        Response response;
        check(context,
              unary([&](grpc::ClientContext& client) { return call(client, request, &response); }));
        auto* objects = objects_of(response);
        // A server may send more than asked for, to keep together what belongs together.
        if (static_cast<std::uint64_t>(objects->size()) > left)
            objects->DeleteSubrange(static_cast<int>(left),
                                    objects->size() - static_cast<int>(left));
        page(*objects);
        left -= static_cast<std::uint64_t>(objects->size());
        request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty() && left != 0);
    if (!request.page_token().empty() && limit.count == 0)
        fmt::print(context.err,
                   "drcli: only the first {} are shown: --all shows all, --limit N so many, and "
                   "filters (--help) what is looked for\n",
                   limit.objects());
}

// A list in the chosen form: a table, or a JSON array with one object a line.
class ListWriter {
  public:
    ListWriter(Context& context, std::vector<Column> columns)
        : context_(context), table_(std::move(columns)), array_(context.out) {}

    // cells_of(object) -> the row.
    template <class Objects, class CellsOf>
    void add(const Objects& objects, CellsOf&& cells_of) {
        for (const auto& object : objects) {
            if (context_.json()) {
                array_.add(to_json(object));
            } else {
                table_.add(cells_of(object));
            }
        }
        if (!context_.json()) {
            std::fputs(table_.flush().c_str(), context_.out);
        }
        check_written(context_.out);
    }
    void end() {
        if (context_.json()) {
            array_.end();
        }
    }

  private:
    Context& context_;
    Table table_;
    JsonArrayWriter array_;
};

}  // namespace dr::cli
