// Finds the end of each JSON object in a stream, and recovers after a broken one.
#include "cli/object_scanner.h"

#include <fmt/format.h>

namespace dr::cli {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;

bool is_blank(int c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

}  // namespace

BracketTracker::State BracketTracker::broken(const char* why) {
    error_ = why;
    return State::Broken;
}

BracketTracker::State BracketTracker::feed(char c) {
    if (in_string_) {
        if (c == '\n') {
            return broken("a string is not closed at the end of its line");
        }
        if (escaped_) {
            escaped_ = false;
        } else if (c == '\\') {
            escaped_ = true;
        } else if (c == '"') {
            in_string_ = false;
        }
        return State::Inside;
    }
    if (is_blank(c)) {
        return State::Inside;
    }
    const char before = before_;
    before_ = c;
    if (c == '"') {
        in_string_ = true;
    } else if (c == '{' || c == '[') {
        const bool key_expected =
            !open_.empty() && open_.back() == '{' && (before == ',' || before == '{');
        if (key_expected) {
            return broken("a bracket stands where the name of a field must be");
        }
        open_ += c;
    } else if (c == '}' || c == ']') {
        const char opening = c == '}' ? '{' : '[';
        if (open_.empty() || open_.back() != opening) {
            return broken("a closing bracket does not match the opening one");
        }
        open_.pop_back();
        return open_.empty() ? State::Complete : State::Inside;
    }
    return State::Inside;
}

ObjectScanner::ObjectScanner(Reader reader) : reader_(std::move(reader)), buffer_(kBufferBytes) {}

int ObjectScanner::peek() {
    if (position_ == filled_) {
        filled_ = reader_(buffer_);
        bytes_read_ += filled_;
        position_ = 0;
        if (filled_ == 0) {
            return kEnd;
        }
    }
    return static_cast<unsigned char>(buffer_[position_]);
}

int ObjectScanner::get() {
    const int c = peek();
    if (c == kEnd) {
        return c;
    }
    ++position_;
    if (c == '\n') {
        ++line_;
        indent_ = 0;
        in_indent_ = true;
    } else if (in_indent_ && (c == ' ' || c == '\t')) {
        ++indent_;
    } else {
        in_indent_ = false;
    }
    return c;
}

void ObjectScanner::skip_blanks() {
    while (is_blank(peek())) {
        get();
    }
}

void ObjectScanner::begin(ScannedObject& object) {
    object.number = ++number_;
    object.line = line_;
    object.text.clear();
    object.error.clear();
}

void ObjectScanner::append(ScannedObject& object, char c) {
    if (object.text.size() < kMaxObjectBytes) {
        object.text += c;
    } else if (object.error.empty()) {
        object.error = fmt::format("longer than {} bytes", kMaxObjectBytes);
    }
}

void ObjectScanner::detect_shape() {
    constexpr int kByteOrderMark = 0xef;  // first of three bytes
    if (peek() == kByteOrderMark) {
        for (int i = 0; i < 3; ++i) {
            get();
        }
        in_indent_ = true;
    }
    skip_blanks();
    shape_ = peek() == '[' ? Shape::Array : Shape::Lines;
    if (shape_ == Shape::Array) {
        get();
    }
}

bool ObjectScanner::next(ScannedObject& object) {
    if (shape_ == Shape::Unknown) {
        detect_shape();
    }
    if (shape_ == Shape::Array) {
        return next_element(object);
    }
    skip_blanks();
    if (peek() == kEnd) {
        return false;
    }
    begin(object);
    read_line_object(object);
    return true;
}

void ObjectScanner::rest_of_line(ScannedObject& object, const char* error) {
    bool only_blanks = true;
    while (peek() != kEnd && peek() != '\n') {
        const int c = get();
        only_blanks = only_blanks && is_blank(c);
        append(object, static_cast<char>(c));
    }
    if (!only_blanks && object.error.empty()) {
        object.error = error;
    }
}

void ObjectScanner::read_line_object(ScannedObject& object) {
    if (peek() != '{') {
        rest_of_line(object, "not a JSON object: it must begin with {");
        return;
    }
    const std::size_t indent = indent_;
    BracketTracker brackets;
    for (;;) {
        const int next_char = peek();
        const bool line_begins = in_indent_ && object.line != line_ && !is_blank(next_char);
        const bool goes_on = indent_ > indent || next_char == '}' || next_char == ']';
        if (next_char == kEnd || (line_begins && !goes_on)) {
            if (object.error.empty()) {
                object.error = "the object is not closed";
            }
            return;
        }
        const auto c = static_cast<char>(get());
        append(object, c);
        const auto state = brackets.feed(c);
        if (state == BracketTracker::State::Broken) {
            object.error = brackets.error();
            if (c != '\n') {
                rest_of_line(object, "");
            }
            return;
        }
        if (state == BracketTracker::State::Complete) {
            rest_of_line(object, "there is more after the object's closing bracket");
            return;
        }
    }
}

bool ObjectScanner::next_element(ScannedObject& object) {
    skip_blanks();
    if (!closed_ && peek() == ']') {
        get();
        closed_ = true;
        skip_blanks();
    }
    if (closed_ && peek() == kEnd) {
        return false;
    }
    begin(object);
    if (closed_) {
        object.error = "there is more after the array's closing bracket";
        while (get() != kEnd) {
        }
        return true;
    }
    if (peek() == kEnd) {
        object.error = "the array is not closed";
        closed_ = true;
        return true;
    }
    read_element(object);
    return true;
}

void ObjectScanner::read_element(ScannedObject& object) {
    if (peek() != '{') {
        object.error = "not a JSON object: it must begin with {";
        skip_to_separator();
        return;
    }
    const std::size_t indent = indent_;
    BracketTracker brackets;
    for (;;) {
        if (peek() == kEnd) {
            object.error = "the object is not closed";
            closed_ = true;
            return;
        }
        const bool new_line = in_indent_ && object.line != line_;
        const auto c = static_cast<char>(peek());
        const auto state = brackets.feed(c);
        if (state == BracketTracker::State::Broken) {
            object.error = brackets.error();
            // An object where a field must be: it is the next element, if it begins like one.
            if (c != '{' || !new_line || indent_ > indent) {
                recover(object, indent);
            }
            return;
        }
        append(object, static_cast<char>(get()));
        if (state == BracketTracker::State::Complete) {
            after_element(object);
            return;
        }
    }
}

void ObjectScanner::recover(ScannedObject& object, std::size_t indent) {
    while (get() != '\n') {
        if (peek() == kEnd) {
            closed_ = true;
            return;
        }
    }
    for (;;) {
        skip_blanks();
        if (peek() == kEnd) {
            closed_ = true;
            return;
        }
        const bool line_begins = in_indent_ && line_ != object.line;
        if (line_begins && indent_ <= indent && (peek() == '{' || peek() == ']')) {
            return;
        }
        get();
    }
}

void ObjectScanner::after_element(ScannedObject& object) {
    skip_blanks();
    if (peek() == ',') {
        get();
        return;
    }
    if (peek() == ']' || peek() == kEnd) {
        return;
    }
    if (object.error.empty()) {
        object.error = "neither a comma nor the array's end follows the object";
    }
    if (peek() != '{') {
        skip_to_separator();
    }
}

// Skips to the comma after an element that is not an object, or to the end of the array.
void ObjectScanner::skip_to_separator() {
    bool in_string = false;
    while (peek() != kEnd) {
        if (!in_string && peek() == ']') {
            return;
        }
        const int c = get();
        if (!in_string && c == ',') {
            return;
        }
        if (c == '"' || c == '\n') {
            in_string = c == '"' && !in_string;
        }
    }
}

}  // namespace dr::cli
