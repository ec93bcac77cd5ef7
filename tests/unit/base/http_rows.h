/* What arrives on the wire and what it gets: every form that parsers are known to disagree about, for the parser's
 * test and the server's. status 200: one request is accepted whole; otherwise the refusal. */
#ifndef TEST_HTTP_ROWS_H
#define TEST_HTTP_ROWS_H

#include <stddef.h>

struct http_row {
    const char *name;
    const char *bytes;
    size_t len;
    int status;
};

#define ROW(name_, status_, bytes_)                                                                                    \
    {                                                                                                                  \
        name_, bytes_, sizeof(bytes_) - 1, status_                                                                     \
    }
#define GET_(headers_)   "GET / HTTP/1.1\r\n" headers_ "\r\n"
#define GET_H(headers_)  "GET / HTTP/1.1\r\nHost: h\r\n" headers_ "\r\n"
#define POST_H(headers_) "POST / HTTP/1.1\r\nHost: h\r\n" headers_ "\r\n"
#define CHUNKED(body_)   POST_H("Transfer-Encoding: chunked\r\n") body_
#define LINE_(line_)     line_ "\r\nHost: h\r\n\r\n"

static const struct http_row http_rows[] = {
    /* request line */
    ROW("plain get", 200, GET_H("")),
    ROW("one leading CRLF", 200, "\r\n" GET_H("")),
    ROW("two leading CRLFs", 400, "\r\n\r\n" GET_H("")),
    ROW("leading LF", 400, "\n" GET_H("")),
    ROW("leading CR", 400, "\rX" GET_H("")),
    ROW("TLS hello", 400, "\x16\x03\x01\x02\x00\x01\x00"),
    ROW("leading space", 400, " " GET_H("")),
    ROW("HTTP/0.9", 400, "GET /\r\n"),
    ROW("no target", 400, "GET HTTP/1.1\r\n\r\n"),
    ROW("only a method", 400, "GET\r\n\r\n"),
    ROW("two spaces before the target", 400, LINE_("GET  / HTTP/1.1")),
    ROW("two spaces after the target", 400, LINE_("GET /  HTTP/1.1")),
    ROW("space at the end", 400, LINE_("GET / HTTP/1.1 ")),
    ROW("tab for space", 400, LINE_("GET\t/\tHTTP/1.1")),
    ROW("HTTP/1.0", 200, "GET / HTTP/1.0\r\n\r\n"),
    ROW("HTTP/1.2", 505, LINE_("GET / HTTP/1.2")),
    ROW("HTTP/2.0", 505, LINE_("GET / HTTP/2.0")),
    ROW("HTTP/0.9 spelt out", 505, LINE_("GET / HTTP/0.9")),
    ROW("HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ROW("HTTP/11", 400, LINE_("GET / HTTP/11")),
    ROW("HTTP/1.1x", 400, LINE_("GET / HTTP/1.1x")),
    ROW("HTTP/01.1", 400, LINE_("GET / HTTP/01.1")),
    ROW("lower-case version", 400, LINE_("GET / http/1.1")),
    ROW("HXXX", 400, LINE_("GET / HXXX/1.1")),
    ROW("ICE", 400, LINE_("SOURCE /x ICE/1.0")),
    ROW("method head", 200, LINE_("HEAD / HTTP/1.1")),
    ROW("method put", 200, LINE_("PUT / HTTP/1.1")),
    ROW("method patch", 200, LINE_("PATCH / HTTP/1.1")),
    ROW("method delete", 200, LINE_("DELETE / HTTP/1.1")),
    ROW("method options", 200, LINE_("OPTIONS * HTTP/1.1")),
    ROW("method propfind", 501, LINE_("PROPFIND / HTTP/1.1")),
    ROW("method lower case", 501, LINE_("get / HTTP/1.1")),
    ROW("method mixed case", 501, LINE_("Get / HTTP/1.1")),
    ROW("method trace", 405, LINE_("TRACE / HTTP/1.1")),
    ROW("method connect", 405, LINE_("CONNECT h:443 HTTP/1.1")),
    ROW("method not a token", 400, LINE_("GE(T / HTTP/1.1")),
    ROW("method of 33 bytes", 400, LINE_("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1")),
    /* target */
    ROW("star with get", 400, LINE_("GET * HTTP/1.1")),
    ROW("fragment", 400, LINE_("GET /#f HTTP/1.1")),
    ROW("escape", 200, LINE_("GET /a%2fb%00?%7E HTTP/1.1")),
    ROW("bad escape", 400, LINE_("GET /%zz HTTP/1.1")),
    ROW("cut escape", 400, LINE_("GET /%a HTTP/1.1")),
    ROW("bad escape in the query", 400, LINE_("GET /?% HTTP/1.1")),
    ROW("NUL in the target", 400, LINE_("GET /\0 HTTP/1.1")),
    ROW("high byte in the target", 400, LINE_("GET /\xc3\xa9 HTTP/1.1")),
    ROW("form feed in the target", 400, LINE_("GET /\f HTTP/1.1")),
    ROW("DEL in the target", 400, LINE_("GET /\x7f HTTP/1.1")),
    ROW("relative target", 400, LINE_("GET x HTTP/1.1")),
    ROW("absolute form", 200, LINE_("GET http://a.b:80/x?y HTTP/1.1")),
    ROW("absolute form, https, no path", 200, LINE_("GET HTTPS://a HTTP/1.1")),
    ROW("absolute form, other scheme", 400, LINE_("GET ftp://a/ HTTP/1.1")),
    ROW("absolute form, user", 400, LINE_("GET http://u@a/ HTTP/1.1")),
    ROW("absolute form, no host", 400, LINE_("GET http:///x HTTP/1.1")),
    ROW("absolute form, bad port", 400, LINE_("GET http://a:99999/ HTTP/1.1")),
    /* line ends */
    ROW("LF after the request line", 400, "GET / HTTP/1.1\nHost: h\r\n\r\n"),
    ROW("LF after a header", 400, GET_("Host: h\n")),
    ROW("LF as the empty line", 400, "GET / HTTP/1.1\r\nHost: h\r\n\n"),
    ROW("CR in a value", 400, GET_H("X: a\rb\r\n")),
    ROW("CR hides a header", 400, GET_H("X:\rxTransfer-Encoding: chunked\r\n")),
    ROW("CR ends the head", 400, "GET / HTTP/1.1\r\nHost: h\r\n\rX\r\n\r\n"),
    ROW("CR CR LF", 400, GET_H("X: a\r\r\n")),
    /* field syntax */
    ROW("fold by space", 400, GET_H("X: a\r\n b\r\n")),
    ROW("fold by tab", 400, GET_H("X: a\r\n\tb\r\n")),
    ROW("fold in Host", 400, GET_("Host:\r\n a\r\n")),
    ROW("fold in Content-Length", 400, POST_H("Content-Length:\r\n 3\r\n")),
    ROW("fold before any header", 400, GET_(" X: a\r\nHost: h\r\n")),
    ROW("no colon", 400, GET_H("X\r\n")),
    ROW("empty name", 400, GET_H(": a\r\n")),
    ROW("space before the colon", 400, POST_H("Content-Length : 3\r\n") "abc"),
    ROW("space before the colon of Transfer-Encoding", 400, POST_H("Transfer-Encoding : chunked\r\n") "0\r\n\r\n"),
    ROW("space in a name", 400, GET_H("X Y: a\r\n")),
    ROW("NUL in a name", 400, GET_H("X\0: a\r\n")),
    ROW("high byte in a name", 400, GET_H("X\xc3: a\r\n")),
    ROW("empty value", 200, GET_H("X:\r\n")),
    ROW("NUL first in a value", 400, GET_H("X: \0\r\n")),
    ROW("NUL right after the colon", 400, GET_H("X:\0\r\n")),
    ROW("NUL in a value", 400, GET_H("X: a\0b\r\n")),
    ROW("control byte in a value", 400, GET_H("X: a\x01\r\n")),
    ROW("DEL in a value", 400, GET_H("X: \x7f\r\n")),
    ROW("tab and high bytes in a value", 200, GET_H("X: a\tb\xff\r\n")),
    /* Host */
    ROW("no Host", 400, GET_("")),
    ROW("two Hosts", 400, GET_("Host: a\r\nHost: a\r\n")),
    ROW("empty Host", 400, GET_("Host:\r\n")),
    ROW("Host with port", 200, GET_("Host: a.b-c_d:8080\r\n")),
    ROW("Host IPv6", 200, GET_("Host: [::1]:80\r\n")),
    ROW("Host IPv6 unclosed", 400, GET_("Host: [::1\r\n")),
    ROW("Host IPv6 junk behind", 400, GET_("Host: [::1]x\r\n")),
    ROW("Host with slash", 400, GET_("Host: a/b\r\n")),
    ROW("Host with user", 400, GET_("Host: u@a\r\n")),
    ROW("Host with space", 400, GET_("Host: a b\r\n")),
    ROW("Host with comma", 400, GET_("Host: a,b\r\n")),
    ROW("Host with empty port", 400, GET_("Host: a:\r\n")),
    ROW("Host with bad port", 400, GET_("Host: a:8x\r\n")),
    ROW("bad Host beside an absolute form", 400, "GET http://a/ HTTP/1.1\r\nHost: b/c\r\n\r\n"),
    ROW("no Host beside an absolute form", 400, "GET http://a/ HTTP/1.1\r\n\r\n"),
    ROW("two Hosts on 1.0", 400, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    /* Content-Length */
    ROW("length 0", 200, POST_H("Content-Length: 0\r\n")),
    ROW("length 3", 200, POST_H("Content-Length: 3\r\n") "abc"),
    ROW("length 003", 200, POST_H("Content-Length: 003\r\n") "abc"),
    ROW("post without a length", 200, POST_H("")),
    ROW("get with a body", 200, GET_H("Content-Length: 3\r\n") "abc"),
    ROW("two lengths, different", 400, POST_H("Content-Length: 3\r\nContent-Length: 4\r\n") "abc"),
    ROW("two lengths, equal", 400, POST_H("Content-Length: 3\r\nContent-Length: 3\r\n") "abc"),
    ROW("length list", 400, POST_H("Content-Length: 3, 3\r\n") "abc"),
    ROW("length +3", 400, POST_H("Content-Length: +3\r\n") "abc"),
    ROW("length -3", 400, POST_H("Content-Length: -3\r\n") "abc"),
    ROW("length 0x3", 400, POST_H("Content-Length: 0x3\r\n") "abc"),
    ROW("length 3 3", 400, POST_H("Content-Length: 3 3\r\n") "abc"),
    ROW("length empty", 400, POST_H("Content-Length:\r\n")),
    ROW("length 2^63", 400, POST_H("Content-Length: 9223372036854775808\r\n")),
    ROW("length 2^64-1", 400, POST_H("Content-Length: 18446744073709551615\r\n")),
    ROW("length of 30 digits", 400, POST_H("Content-Length: 111111111111111111111111111111\r\n")),
    ROW("post on 1.0 without a length", 411, "POST / HTTP/1.0\r\n\r\n"),
    ROW("post on 1.0", 200, "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"),
    /* Transfer-Encoding */
    ROW("chunked", 200, CHUNKED("3\r\nabc\r\n0\r\n\r\n")),
    ROW("Chunked", 200, POST_H("TRANSFER-encoding: \tChunked \r\n") "0\r\n\r\n"),
    ROW("length and chunked", 400, POST_H("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n"),
    ROW("chunked and length", 400, POST_H("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n") "0\r\n\r\n"),
    ROW("gzip, chunked", 400, POST_H("Transfer-Encoding: gzip, chunked\r\n") "0\r\n\r\n"),
    ROW("xchunked", 400, POST_H("Transfer-Encoding: xchunked\r\n") "0\r\n\r\n"),
    ROW("chunked, gzip", 400, POST_H("Transfer-Encoding: chunked, gzip\r\n") "0\r\n\r\n"),
    ROW("chunked;q=1", 400, POST_H("Transfer-Encoding: chunked;q=1\r\n") "0\r\n\r\n"),
    ROW("identity", 400, POST_H("Transfer-Encoding: identity\r\n")),
    ROW("empty coding", 400, POST_H("Transfer-Encoding:\r\n")),
    ROW("chunked twice", 400, POST_H("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n"),
    ROW("identity, then chunked", 400,
        POST_H("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n"),
    ROW("chunked, then identity", 400,
        POST_H("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n") "0\r\n\r\n"),
    ROW("chunked on 1.0", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    /* chunks */
    ROW("chunk size 0x5", 400, CHUNKED("0x5\r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk size +5", 400, CHUNKED("+5\r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk size with a space before", 400, CHUNKED(" 5\r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk size with a space behind", 400, CHUNKED("5 \r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk size with a tab behind", 400, CHUNKED("5\t\r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk size empty", 400, CHUNKED("\r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk size LF alone", 400, CHUNKED("5\nabcde\r\n0\r\n\r\n")),
    ROW("chunk size CR X", 400, CHUNKED("5\rXabcde\r\n0\r\n\r\n")),
    ROW("chunk extension", 400, CHUNKED("5;a=b\r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk extension by space", 400, CHUNKED("5 x\r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk extension with LF", 400, CHUNKED("5;\n\r\nabcde\r\n0\r\n\r\n")),
    ROW("extension of the last chunk", 400, CHUNKED("0;a\r\n\r\n")),
    ROW("chunk size of 8 digits", 200, CHUNKED("00000005\r\nabcde\r\n00000000\r\n\r\n")),
    ROW("chunk size of 9 digits", 400, CHUNKED("000000005\r\nabcde\r\n0\r\n\r\n")),
    ROW("chunk size in both cases", 200, CHUNKED("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n")),
    ROW("chunk data then LF", 400, CHUNKED("5\r\nabcde\n0\r\n\r\n")),
    ROW("chunk data then CR X", 400, CHUNKED("5\r\nabcde\rX0\r\n\r\n")),
    ROW("chunk data too long", 400, CHUNKED("5\r\nabcdef\r\n0\r\n\r\n")),
    ROW("trailers", 200, CHUNKED("0\r\nX-Sum: 1\r\nContent-Length: 9\r\nHost: evil\r\nConnection: close\r\n\r\n")),
    ROW("trailer folded", 400, CHUNKED("0\r\nX: a\r\n b\r\n\r\n")),
    ROW("trailer with bare LF", 400, CHUNKED("0\r\nX: a\n\r\n")),
    ROW("trailer name no token", 400, CHUNKED("0\r\nX : a\r\n\r\n")),
    ROW("CR X ends the trailers", 400, CHUNKED("0\r\n\rX\r\n")),
    ROW("17 trailers", 431,
        CHUNKED("0\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n"
                "a:\r\na:\r\n\r\n")),
    /* Expect */
    ROW("expect something", 417, POST_H("Content-Length: 3\r\nExpect: 200-ok\r\n")),
    ROW("expect a list", 417, POST_H("Content-Length: 3\r\nExpect: 100-continue, x\r\n")),
    ROW("expect twice", 417, POST_H("Content-Length: 3\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n")),
    ROW("expect without a body", 200, GET_H("Expect: 100-Continue\r\n")),
    /* others */
    ROW("upgrade is ignored", 200, GET_H("Connection: upgrade\r\nUpgrade: h2c\r\n")),
};

enum { N_HTTP_ROWS = sizeof http_rows / sizeof *http_rows };

#endif
