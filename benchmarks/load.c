/* load PORT REQUEST-FILE CONNECTIONS ROUNDS INTERVAL-MS TIMEOUT-S
 *
 * Sends one request, ROUNDS times on each of CONNECTIONS open connections, and prints one line of JSON.
 * INTERVAL-MS 0: the next round follows as soon as a connection has its answer. Otherwise all
 * connections send round k at the same moment, k intervals after the start: a burst.
 * Reads JSON bodies and SSE streams; of a stream, each chunk's `@microseconds@` (see mock/mock.lua)
 * gives how long that chunk was under way. Connections are opened before the clock starts.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum phase { IDLE, HEAD, SIZE, DATA, DATA_END, TRAILER, COUNTED, DEAD };

struct connection {
    int fd, rounds, status, is_stream, saw_done, line;
    enum phase phase;
    size_t sent, head, left;
    char text[16384];
    double began, first;
    unsigned long long stamp;
    int in_stamp, digits, done_at;
};

struct samples { double *values; size_t count, room; };

static struct samples totals, firsts, delays;
static char *request;
static size_t request_size;
static long errors, finished;
static int poller, changed = 1;

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void add(struct samples *s, double value) {
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 4096;
        s->values = realloc(s->values, s->room * sizeof *s->values);
        if (!s->values) exit(3);
    }
    s->values[s->count++] = value;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, struct samples *s) {
    if (!s->count) {
        printf(",\"%s\":null", name);
        return;
    }
    qsort(s->values, s->count, sizeof *s->values, by_value);
    printf(",\"%s\":{\"count\":%zu,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f}", name, s->count,
           s->values[s->count / 2] / 1e3, s->values[s->count * 99 / 100] / 1e3, s->values[s->count - 1] / 1e3);
}

static void die(struct connection *c) {
    errors++;
    changed = 1;
    c->phase = DEAD;
    close(c->fd);
}

static void push(struct connection *c) {
    while (c->sent < request_size) {
        ssize_t n = write(c->fd, request + c->sent, request_size - c->sent);
        if (n < 0) {
            if (errno != EAGAIN) die(c);
            return;
        }
        c->sent += (size_t)n;
    }
}

static void start(struct connection *c, double now) {
    c->phase = HEAD;
    c->sent = c->head = c->left = 0;
    c->first = 0;
    c->saw_done = c->done_at = c->in_stamp = 0;
    c->began = now;
    push(c);
}

static void finish(struct connection *c, double now) {
    changed = 1;
    c->phase = IDLE;
    c->rounds++;
    if (c->status != 200 || (c->is_stream && !c->saw_done)) {
        errors++;
        return;
    }
    finished++;
    add(&totals, now - c->began);
    add(&firsts, c->first - c->began);
}

static void read_body(struct connection *c, const char *data, size_t size, double now) {
    static const char DONE[] = "[DONE]";
    if (!c->is_stream) {
        if (!c->first) c->first = now;
        return;
    }
    for (size_t i = 0; i < size; i++) {
        char b = data[i];
        if (b == '@') {
            if (c->in_stamp && c->digits > 5) {
                if (!c->first) c->first = now;
                add(&delays, now - (double)c->stamp);
                c->in_stamp = 0;
            } else {
                c->in_stamp = 1;
                c->digits = 0;
                c->stamp = 0;
            }
        } else if (c->in_stamp) {
            if (b >= '0' && b <= '9') {
                c->stamp = c->stamp * 10 + (unsigned)(b - '0');
                c->digits++;
            } else {
                c->in_stamp = 0;
            }
        }
        c->done_at = b == DONE[c->done_at] ? c->done_at + 1 : b == DONE[0];
        if (c->done_at == 6) {
            c->saw_done = 1;
            c->done_at = 0;
        }
    }
}

static void read_head(struct connection *c) {
    c->status = atoi(c->text + 9);
    c->is_stream = strcasestr(c->text, "\r\ncontent-type: text/event-stream") != NULL;
    char *length = strcasestr(c->text, "\r\ncontent-length:");
    if (strcasestr(c->text, "\r\ntransfer-encoding: chunked")) {
        c->phase = SIZE;
        c->left = 0;
    } else if (length) {
        c->phase = COUNTED;
        c->left = strtoul(length + 17, NULL, 10);
    } else {
        die(c); /* Ended by closing: a connection that cannot be used again. */
    }
}

static void feed(struct connection *c, const char *data, size_t size, double now) {
    size_t i = 0;
    while (i < size && c->phase != DEAD && c->phase != IDLE) {
        if (c->phase == HEAD) {
            if (c->head + 1 >= sizeof c->text) {
                die(c);
                return;
            }
            c->text[c->head++] = data[i++];
            if (c->head >= 4 && !memcmp(c->text + c->head - 4, "\r\n\r\n", 4)) {
                c->text[c->head] = 0;
                read_head(c);
                if (c->phase == COUNTED && !c->left) finish(c, now);
            }
        } else if (c->phase == SIZE) {
            char b = data[i++];
            if (isxdigit((unsigned char)b)) {
                c->left = c->left * 16 + (size_t)(isdigit((unsigned char)b) ? b - '0' : tolower(b) - 'a' + 10);
            } else if (b == '\n') {
                c->phase = c->left ? DATA : TRAILER;
                c->line = 0;
            }
        } else if (c->phase == DATA || c->phase == COUNTED) {
            size_t n = size - i < c->left ? size - i : c->left;
            read_body(c, data + i, n, now);
            i += n;
            c->left -= n;
            if (!c->left) {
                if (c->phase == COUNTED) finish(c, now);
                else c->phase = DATA_END;
            }
        } else if (c->phase == DATA_END) {
            if (data[i++] == '\n') c->phase = SIZE;
        } else { /* TRAILER: ends with an empty line. */
            char b = data[i++];
            if (b == '\n') {
                if (!c->line) finish(c, now);
                c->line = 0;
            } else if (b != '\r') {
                c->line = 1;
            }
        }
    }
}

static void pull(struct connection *c) {
    static char buffer[65536];
    for (;;) {
        ssize_t n = read(c->fd, buffer, sizeof buffer);
        if (n > 0) {
            feed(c, buffer, (size_t)n, now_us());
            if (c->phase == DEAD || (size_t)n < sizeof buffer) return;
        } else if (n == 0 || errno != EAGAIN) {
            die(c);
            return;
        } else {
            return;
        }
    }
}

static void load_request(const char *path) {
    struct stat about;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &about)) exit(2);
    request_size = (size_t)about.st_size;
    request = malloc(request_size);
    if (!request || read(fd, request, request_size) != about.st_size) exit(2);
    close(fd);
}

static void dial(struct connection *c, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(2);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) exit(2);
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: load PORT REQUEST-FILE CONNECTIONS ROUNDS INTERVAL-MS TIMEOUT-S\n");
        return 2;
    }
    int count = atoi(argv[3]), rounds = atoi(argv[4]);
    double interval = atof(argv[5]) * 1e3, timeout = atof(argv[6]) * 1e6;
    load_request(argv[2]);
    poller = epoll_create1(0);
    struct connection *all = calloc((size_t)count, sizeof *all);
    if (!all) return 3;
    for (int i = 0; i < count; i++) dial(&all[i], atoi(argv[1]));
    double began = now_us(), now = began, next = 0;
    struct epoll_event events[512];
    while (now < began + timeout) {
        /* A walk over all connections is dear, and needed only where one fell idle or a round is due. */
        if (changed || now >= next) {
            int live = 0;
            changed = 0;
            next = began + timeout;
            for (int i = 0; i < count; i++) {
                struct connection *c = &all[i];
                if (c->phase == DEAD || (c->phase == IDLE && c->rounds >= rounds)) continue;
                live++;
                if (c->phase != IDLE) continue;
                double due = began + c->rounds * interval;
                if (due <= now) start(c, now_us());
                else if (due < next) next = due;
            }
            if (!live) break;
        }
        int wait = (int)((next - now) / 1e3) + 1;
        int n = epoll_wait(poller, events, 512, wait < 1 ? 1 : wait);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->phase == DEAD) continue;
            if ((events[i].events & EPOLLOUT) && c->phase != IDLE) push(c);
            if (c->phase != DEAD && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) pull(c);
        }
        now = now_us();
    }
    long stuck = 0;
    for (int i = 0; i < count; i++) stuck += all[i].phase != IDLE && all[i].phase != DEAD;
    printf("{\"seconds\":%.6f,\"finished\":%ld,\"errors\":%ld,\"stuck\":%ld", (now - began) / 1e6, finished,
           errors, stuck);
    print_samples("total", &totals);
    print_samples("first", &firsts);
    print_samples("chunk", &delays);
    printf("}\n");
    return 0;
}
