// Included before every C++ function that is judged, precompiled: the standard headers of everyday code and the reading and writing of
// values. What is declared `extern template` is compiled once, optimised, in cpp_runner.cpp: most of a small program's compile time would
// otherwise go into instantiating the same containers again.
#ifdef OORL_ALL_HEADERS
#include <bits/stdc++.h>
#else
#include <bits/c++config.h>
#undef _GLIBCXX_USE_STD_SPEC_FUNCS  // std::beta and its like cost 20 ms in every compilation; OORL_ALL_HEADERS has them
#include <algorithm>
#include <array>
#include <cassert>
#include <cctype>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <iostream>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <numeric>
#include <optional>
#include <queue>
#include <set>
#include <sstream>
#include <stack>
#include <stdexcept>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>
#endif

namespace oorl_driver {

using Int = long long;
using Float = double;
using Bool = bool;
using Str = std::string;
template <class T> using List = std::vector<T>;
template <class T> using Dict = std::map<std::string, T>;
template <class T> using Optional = std::optional<T>;

// The arguments of one request, read from left to right.
class Reader {
public:
    explicit Reader(const char *at) : at_(at) {}
    bool take(char c);          // the next character, if it is c
    bool take_null();
    const char *at_;
};

// The reply's JSON.
struct Writer {
    std::string text;
};

void read(Reader &in, Int &value);
void read(Reader &in, Float &value);
void read(Reader &in, Bool &value);
void read(Reader &in, Str &value);
void read(Reader &in, List<Int> &values);
void read(Reader &in, List<Float> &values);
void read(Reader &in, List<Bool> &values);
void read(Reader &in, List<Str> &values);
template <class T> void read(Reader &in, List<T> &values);
template <class T> void read(Reader &in, Dict<T> &values);
template <class T> void read(Reader &in, Optional<T> &value);

void write(Writer &out, Int value);
void write(Writer &out, Float value);
void write(Writer &out, Bool value);
void write(Writer &out, const Str &value);
void write(Writer &out, const List<Int> &values);
void write(Writer &out, const List<Float> &values);
void write(Writer &out, const List<Bool> &values);
void write(Writer &out, const List<Str> &values);
template <class T> void write(Writer &out, const List<T> &values);
template <class T> void write(Writer &out, const Dict<T> &values);
template <class T> void write(Writer &out, const Optional<T> &value);

template <class T> T argument(Reader &in) {
    T value{};
    read(in, value);
    in.take(',');
    return value;
}

template <class T> void read(Reader &in, List<T> &values) {
    in.take('[');
    while (!in.take(']')) values.push_back(argument<T>(in));
}

template <class T> void read(Reader &in, Dict<T> &values) {
    in.take('{');
    while (!in.take('}')) {
        Str key;
        read(in, key);
        in.take(':');
        values.emplace(std::move(key), argument<T>(in));
    }
}

template <class T> void read(Reader &in, Optional<T> &value) {
    if (in.take_null()) return;
    value.emplace();
    read(in, *value);
}

template <class T> void write(Writer &out, const List<T> &values) {
    out.text += '[';
    bool first = true;
    for (const T &value : values) {
        if (!first) out.text += ',';
        first = false;
        write(out, value);
    }
    out.text += ']';
}

template <class T> void write(Writer &out, const Dict<T> &values) {
    out.text += '{';
    bool first = true;
    for (const auto &item : values) {
        if (!first) out.text += ',';
        first = false;
        write(out, item.first);
        out.text += ':';
        write(out, item.second);
    }
    out.text += '}';
}

template <class T> void write(Writer &out, const Optional<T> &value) {
    if (value) {
        write(out, *value);
    } else {
        out.text += "null";
    }
}

}  // namespace oorl_driver

#ifndef OORL_SHARED
#define OORL_SHARED extern
#endif
OORL_SHARED template class std::vector<long long>;
OORL_SHARED template class std::vector<double>;
OORL_SHARED template class std::vector<bool>;
OORL_SHARED template class std::vector<std::string>;
OORL_SHARED template class std::map<std::string, long long>;
OORL_SHARED template long long &std::vector<long long>::emplace_back<long long>(long long &&);
OORL_SHARED template std::string &std::vector<std::string>::emplace_back<std::string>(std::string &&);
OORL_SHARED template void std::sort(std::vector<long long>::iterator, std::vector<long long>::iterator);
OORL_SHARED template void std::sort(std::vector<std::string>::iterator, std::vector<std::string>::iterator);
OORL_SHARED template void std::reverse(std::vector<long long>::iterator, std::vector<long long>::iterator);
OORL_SHARED template void std::reverse(std::string::iterator, std::string::iterator);

extern "C" void oorl_call(oorl_driver::Reader &in, oorl_driver::Writer &out);

using namespace std;
