/* Times ryg_rans: 64-bit states, two of them interleaved, as its example main64.cpp does, but with a table per channel.

   stdin, native int32 unless said: photos, channels, plane, runs; per channel offset, count, frequency[count]; then int16
   symbols[photos][channels][plane]. stdout: one line of JSON. Every photo is a stream. A pair of symbols never spans two
   channels: within a channel the first state takes the symbols 0, 2, ... and the second 1, 3, ...

   What is timed: encode from int16 symbols to the flushed words, decode from the words to int16 symbols. What is not:
   reading the case and making the tables. Nothing is checked per symbol, as in ryg_rans itself. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rans64.h"

#define PROB_BITS 16
#define WARM_UP_RUNS 5

/* Which entry has slot s? The lookup gives the first entry that reaches into the bucket s >> shift, and we walk on from
   there. A shift of 0 is the cum2sym of ryg's example: no walk, but 64 KiB a table. A larger shift keeps 64 tables in
   the cache, for a branch that is sometimes mispredicted. -DENTRY=uint8_t, or uint16_t for more than 256 entries. */
enum { VARIANTS = 3 };
static const int SHIFTS[VARIANTS] = {0, 4, 8};
static const char *const NAMES[VARIANTS] = {"cum2sym", "4096 buckets", "256 buckets"};

typedef struct {
    int32_t offset;             /* the symbol of entry 0 */
    int32_t count;              /* entries, the escape included */
    Rans64EncSymbol *enc;       /* [count] */
    Rans64DecSymbol *dec;       /* [count] */
    ENTRY *lookup[VARIANTS];    /* [65536 >> shift] each */
} Table;

typedef struct {
    int32_t photos, channels, plane, runs;
    Table *tables;
    int16_t *symbols;
} Case;

static void fail(const char *message)
{
    fprintf(stderr, "ryg: %s\n", message);
    exit(2);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail("out of memory");
    return memory;
}

static void take(void *to, size_t count, size_t size)
{
    if (fread(to, size, count, stdin) != count) fail("stdin ends inside the case");
}

static void read_table(Table *table)
{
    int32_t head[2];
    take(head, 2, sizeof *head);
    if (head[1] < 1 || head[1] - 1 > (ENTRY)-1) fail("a table has no entries, or too many for this build's ENTRY");
    table->offset = head[0];
    table->count = head[1];
    int32_t *frequencies = allocate(table->count, sizeof *frequencies);
    take(frequencies, table->count, sizeof *frequencies);

    table->enc = allocate(table->count, sizeof *table->enc);
    table->dec = allocate(table->count, sizeof *table->dec);
    for (int v = 0; v < VARIANTS; v++) table->lookup[v] = allocate((1 << PROB_BITS) >> SHIFTS[v], sizeof(ENTRY));
    uint32_t start = 0;
    for (int32_t k = 0; k < table->count; k++) {
        uint32_t end = start + frequencies[k];
        if (end > 1 << PROB_BITS) fail("frequencies sum to more than 65536");
        Rans64EncSymbolInit(&table->enc[k], start, frequencies[k], PROB_BITS);
        Rans64DecSymbolInit(&table->dec[k], start, frequencies[k]);
        for (int v = 0; v < VARIANTS; v++) {
            uint32_t size = 1u << SHIFTS[v];
            for (uint32_t bucket = (start + size - 1) >> SHIFTS[v]; bucket << SHIFTS[v] < end; bucket++) {
                table->lookup[v][bucket] = k;
            }
        }
        start = end;
    }
    if (start != 1 << PROB_BITS) fail("frequencies sum to less than 65536");
    free(frequencies);
}

static Case read_case(void)
{
    Case c;
    int32_t head[4];
    take(head, 4, sizeof *head);
    c.photos = head[0];
    c.channels = head[1];
    c.plane = head[2];
    c.runs = head[3];
    if (c.photos < 1 || c.channels < 1 || c.plane < 1 || c.runs < 1) fail("photos, channels, plane and runs must be positive");
    c.tables = allocate(c.channels, sizeof *c.tables);
    for (int32_t i = 0; i < c.channels; i++) read_table(&c.tables[i]);
    const size_t symbols = (size_t)c.photos * c.channels * c.plane;
    c.symbols = allocate(symbols, sizeof *c.symbols);
    take(c.symbols, symbols, sizeof *c.symbols);
    return c;
}

/* Writes a photo backwards from `end`; returns the first word. */
static uint32_t *encode(const Case *c, const int16_t *photo, uint32_t *end)
{
    Rans64State rans0, rans1;
    Rans64EncInit(&rans0);
    Rans64EncInit(&rans1);
    uint32_t *ptr = end;
    for (int32_t channel = c->channels - 1; channel >= 0; channel--) {
        const int16_t *symbols = photo + (size_t)channel * c->plane;
        const Rans64EncSymbol *enc = c->tables[channel].enc;
        const int32_t offset = c->tables[channel].offset;
        int32_t i = c->plane;
        if (i & 1) {
            i--;
            Rans64EncPutSymbol(&rans0, &ptr, &enc[symbols[i] - offset], PROB_BITS);
        }
        for (; i > 0; i -= 2) {
            Rans64EncPutSymbol(&rans1, &ptr, &enc[symbols[i - 1] - offset], PROB_BITS);
            Rans64EncPutSymbol(&rans0, &ptr, &enc[symbols[i - 2] - offset], PROB_BITS);
        }
    }
    Rans64EncFlush(&rans1, &ptr);
    Rans64EncFlush(&rans0, &ptr);
    return ptr;
}

static inline uint32_t find(const Rans64DecSymbol *dec, const ENTRY *lookup, uint32_t slot, int shift)
{
    uint32_t k = lookup[slot >> shift];
    if (shift > 0) {
        while (slot - dec[k].start >= dec[k].freq) k++;
    }
    return k;
}

/* Inlined once for each variant, so that the shift is a constant. */
static inline __attribute__((always_inline)) void decode_with(const Case *c, uint32_t *ptr, int16_t *out, int variant)
{
    const int shift = SHIFTS[variant];
    Rans64State rans0, rans1;
    Rans64DecInit(&rans0, &ptr);
    Rans64DecInit(&rans1, &ptr);
    for (int32_t channel = 0; channel < c->channels; channel++) {
        const Rans64DecSymbol *dec = c->tables[channel].dec;
        const ENTRY *lookup = c->tables[channel].lookup[variant];
        const int32_t offset = c->tables[channel].offset;
        int32_t i = 0;
        for (; i + 1 < c->plane; i += 2) {
            uint32_t k0 = find(dec, lookup, Rans64DecGet(&rans0, PROB_BITS), shift);
            uint32_t k1 = find(dec, lookup, Rans64DecGet(&rans1, PROB_BITS), shift);
            *out++ = k0 + offset;
            *out++ = k1 + offset;
            Rans64DecAdvanceSymbolStep(&rans0, &dec[k0], PROB_BITS);
            Rans64DecAdvanceSymbolStep(&rans1, &dec[k1], PROB_BITS);
            Rans64DecRenorm(&rans0, &ptr);
            Rans64DecRenorm(&rans1, &ptr);
        }
        if (i < c->plane) {
            uint32_t k0 = find(dec, lookup, Rans64DecGet(&rans0, PROB_BITS), shift);
            *out++ = k0 + offset;
            Rans64DecAdvanceSymbol(&rans0, &ptr, &dec[k0], PROB_BITS);
        }
    }
}

static void decode(const Case *c, uint32_t *ptr, int16_t *out, int variant)
{
    if (variant == 0) decode_with(c, ptr, out, 0);
    else if (variant == 1) decode_with(c, ptr, out, 1);
    else decode_with(c, ptr, out, 2);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, int32_t count)
{
    qsort(times, count, sizeof *times, ascending);
    return times[count / 2];
}

int main(void)
{
    const Case c = read_case();
    const size_t symbols = (size_t)c.channels * c.plane;
    const size_t words = symbols + 4; /* a symbol puts out at most one word, a flushed state two */
    uint32_t *buffer = allocate(c.photos * words, sizeof *buffer); /* a photo's stream ends where its words do */
    uint32_t **first = allocate(c.photos, sizeof *first);
    int16_t *decoded = allocate(c.photos * symbols, sizeof *decoded);
    double *times = allocate(c.runs, sizeof *times);

    for (int32_t run = -WARM_UP_RUNS; run < c.runs; run++) {
        double start = now_ms();
        for (int32_t p = 0; p < c.photos; p++) first[p] = encode(&c, c.symbols + p * symbols, buffer + (p + 1) * words);
        if (run >= 0) times[run] = now_ms() - start;
    }
    size_t bytes = 0;
    for (int32_t p = 0; p < c.photos; p++) bytes += (buffer + (p + 1) * words - first[p]) * sizeof *buffer;
    const double encode_ms = median(times, c.runs);

    double decode_ms[VARIANTS];
    int fastest = 0;
    for (int v = 0; v < VARIANTS; v++) {
        memset(decoded, 0, c.photos * symbols * sizeof *decoded);
        for (int32_t run = -WARM_UP_RUNS; run < c.runs; run++) {
            double start = now_ms();
            for (int32_t p = 0; p < c.photos; p++) decode(&c, first[p], decoded + p * symbols, v);
            if (run >= 0) times[run] = now_ms() - start;
        }
        if (memcmp(decoded, c.symbols, c.photos * symbols * sizeof *decoded)) fail("the round trip failed");
        decode_ms[v] = median(times, c.runs);
        if (decode_ms[v] < decode_ms[fastest]) fastest = v;
    }

    printf("{\"encodeMsMedian\":%.6f,\"decodeMsMedian\":%.6f,\"bytes\":%zu,\"note\":\"decoded with %s;",
           encode_ms, decode_ms[fastest], bytes, NAMES[fastest]);
    for (int v = 0; v < VARIANTS; v++) printf(" %s %.3f ms%s", NAMES[v], decode_ms[v], v < VARIANTS - 1 ? "," : "\"}\n");
    return 0;
}
