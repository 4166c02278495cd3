#!/usr/bin/env python3
"""The HTTP interface of ClickHouse over its engine in this process, for tests (loopback only).

  PYTHONPATH=... clickhouse_http.py [--path DIR] [--port 0] [--user U --password P] [--port-file F]
Prints one line "READY <port> <engine version>" when it accepts connections.

An INSERT is written to a file (in memory) first and read from there: the engine's streamed insert says that
all is well when a constraint, a default or a view has failed.
"""
import argparse, json, os, re, secrets, struct, sys, threading, time, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit, parse_qsl
import chdb
try: import lz4.block as lz4b
except ImportError: lz4b = None
try: import zstandard
except ImportError: zstandard = None
try: from clickhouse_cityhash.cityhash import CityHash128
except ImportError: CityHash128 = None

ARGS = None
KEEP = None                         # keeps the engine alive between requests
SESSIONS, SESS_LOCK = {}, threading.Lock()
RESERVED = {'query', 'database', 'default_format', 'compress', 'decompress', 'user', 'password',
            'query_id', 'session_id', 'session_timeout', 'session_check', 'quota_key', 'role',
            'buffer_size', 'wait_end_of_query', 'stacktrace', 'client_protocol_version'}
# HTTP-layer settings of the real server: accepted, no effect on the engine
IGNORED = {'enable_http_compression', 'http_zlib_compression_level', 'http_make_head_request'}
# exception code -> HTTP status as in the server's HTTPHandler
STATUS = {**{c: 404 for c in (16, 46, 47, 60, 81, 82, 141, 192, 511)},
          **{c: 400 for c in (6, 26, 27, 34, 35, 36, 41, 42, 43, 44, 53, 62, 69, 70, 72, 107, 117, 386)},
          **{c: 403 for c in (194, 497, 516)}, 159: 408, 164: 400, 469: 400, 48: 501, 241: 500}
# the last FORMAT keyword of an INSERT, with whatever data follows it inline
INSERT = re.compile(rb'^\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*insert\s+into\b', re.I | re.S)
FORMAT = re.compile(rb'\bformat\s+([A-Za-z][A-Za-z0-9_]*)[ \t]*;?[ \t]*(?:\r?\n|$)', re.I)
# formats whose streamed chunks concatenate to the whole; chdb repeats any header/footer per chunk,
# so everything else is buffered and RowBinaryWithNamesAndTypes has the repeats cut off
STREAM = {'rowbinary', 'rowbinarywithnamesandtypes', 'native', 'jsoneachrow', 'jsoncompacteachrow', 'csv', 'tsv', 'tabseparated', 'values'}
CODE = re.compile(r'Code: (\d+)\.')

class ChError(Exception):
    def __init__(self, text):
        text = str(text).strip()
        i = text.find('Code: ')
        text = text[i:] if i > 0 else text
        m = CODE.search(text)
        self.code = int(m.group(1)) if m else 1002
        if not m: text = f'Code: 1002. DB::Exception: {text}'
        text = text.replace('Code: %d. Code: %d. ' % (self.code, self.code), 'Code: %d. ' % self.code)
        if '(version ' not in text: text += f' (version {chdb.engine_version} (official build))'
        self.text = text
        self.status = STATUS.get(self.code, 500)

class Aborted(Exception): pass

def blocks(read):
    """Decode ClickHouse native compressed blocks (LZ4 0x82, ZSTD 0x90, NONE 0x02)."""
    while True:
        head = read(25)
        if not head: return
        if len(head) < 25: raise ChError('Code: 33. DB::Exception: Cannot read compressed block header. (CANNOT_READ_ALL_DATA)')
        method, csize, usize = head[16], *struct.unpack('<II', head[17:25])
        data = read(csize - 9)
        if CityHash128 is not None:
            h = CityHash128(head[16:] + data)            # (high<<64|low), stored low word first
            want = struct.unpack('<QQ', head[:16])
            if (h & (2**64 - 1), h >> 64) not in (want, want[::-1]):
                raise ChError("Code: 40. DB::Exception: Checksum doesn't match: corrupted data. (CHECKSUM_DOESNT_MATCH)")
        if method == 0x82: yield lz4b.decompress(data, uncompressed_size=usize)
        elif method == 0x90: yield zstandard.ZstdDecompressor().decompress(data, max_output_size=usize)
        elif method == 0x02: yield data
        else: raise ChError('Code: 89. DB::Exception: Unknown compression method. (UNKNOWN_COMPRESSION_METHOD)')

class Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm, wbufsize = 'HTTP/1.1', True, 1 << 16
    def log_message(self, *a):
        if ARGS.verbose: sys.stderr.write('%s\n' % (a[0] % a[1:]))

    # ---- request body -------------------------------------------------
    def body_reader(self):
        f, te = self.rfile, self.headers.get('Transfer-Encoding', '').lower()
        if te == 'chunked':
            st = {'left': 0, 'eof': False}
            def read(n=-1):
                out = []
                while not st['eof'] and n != 0:
                    if st['left'] == 0:
                        line = f.readline()
                        if not line: raise Aborted()
                        st['left'] = int(line.split(b';')[0], 16)
                        if st['left'] == 0:
                            while f.readline() not in (b'\r\n', b'\n', b''): pass
                            st['eof'] = True; break
                    k = st['left'] if n < 0 else min(n, st['left'])
                    d = f.read(k)
                    if len(d) < k: raise Aborted()
                    out.append(d); st['left'] -= k
                    if n > 0: n -= k
                    if st['left'] == 0: f.readline()
                    if n < 0: break                       # -1: one chunk
                return b''.join(out)
        else:
            st = {'left': int(self.headers.get('Content-Length') or 0)}
            def read(n=-1):
                k = min(st['left'], n if n >= 0 else 1 << 20)
                d = f.read(k) if k else b''
                if len(d) < k: raise Aborted()
                st['left'] -= k
                return d
        return read

    def raw(self):
        return iter(lambda: self.reader(-1), b'') if self.reader else ()

    def chunks(self, p):
        read = self.reader
        enc = (self.headers.get('Content-Encoding') or '').lower()
        if p.get('decompress') == '1': yield from blocks(read); return
        raw = self.raw()
        if enc in ('', 'identity'): yield from raw
        elif enc == 'gzip':
            import zlib; d = zlib.decompressobj(31)
            for c in raw: yield d.decompress(c)
        elif enc == 'zstd':
            d = zstandard.ZstdDecompressor().decompressobj()
            for c in raw: yield d.decompress(c)
        elif enc == 'lz4':
            import lz4.frame; d = lz4.frame.LZ4FrameDecompressor()
            for c in raw: yield d.decompress(c)
        else: raise ChError(f'Code: 89. DB::Exception: Unknown content encoding {enc}. (UNKNOWN_COMPRESSION_METHOD)')

    # ---- responses ----------------------------------------------------
    def head(self, status, ctype, fmt=None, length=None, extra=()):
        self.send_response(status)
        self.send_header('Content-Type', ctype)
        self.send_header('X-ClickHouse-Server-Display-Name', 'chdb-shim')
        self.send_header('X-ClickHouse-Query-Id', self.qid)
        self.send_header('X-ClickHouse-Timezone', 'UTC')
        if fmt: self.send_header('X-ClickHouse-Format', fmt)
        for k, v in extra: self.send_header(k, v)
        if length is None: self.send_header('Transfer-Encoding', 'chunked')
        else: self.send_header('Content-Length', str(length))
        self.end_headers()

    def fail(self, e):
        b = (e.text + '\n').encode()
        self.head(e.status, 'text/plain; charset=UTF-8', None, len(b), [('X-ClickHouse-Exception-Code', str(e.code))])
        self.wfile.write(b)

    def plain(self, b, extra=(), fmt=None):
        self.head(200, 'text/plain; charset=UTF-8', fmt, len(b), extra); self.wfile.write(b)

    # ---- the query ----------------------------------------------------
    def open_conn(self, p, user):
        sid = p.get('session_id')
        if sid:
            with SESS_LOCK:
                ent = SESSIONS.setdefault((user, sid), [None, threading.Lock()])
            if not ent[1].acquire(blocking=False):
                raise ChError(f'Code: 373. DB::Exception: Session {sid} is locked by a concurrent client. (SESSION_IS_LOCKED)')
            if ent[0] is None: ent[0] = chdb.connect(ARGS.path)
            return ent[0], ent[1].release
        c = chdb.connect(ARGS.path)
        return c, c.close

    def run(self, p, sql, body):
        user = self.headers.get('X-ClickHouse-User') or p.get('user') or 'default'
        pw = self.headers.get('X-ClickHouse-Key') or p.get('password') or ''
        if ARGS.user and (user, pw) != (ARGS.user, ARGS.password):
            raise ChError(f'Code: 516. DB::Exception: {user}: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)')
        conn, done = self.open_conn(p, user)
        try:
            db = p.get('database') or self.headers.get('X-ClickHouse-Database')
            if db: self.q(conn, 'USE `%s`' % db.replace('\\', '\\\\').replace('`', '\\`'))
            sets = []                                       # one statement: each one costs 0.1 ms
            for k, v in p.items():
                if k in RESERVED or k in IGNORED or k.startswith('param_'): continue
                if not re.fullmatch(r'[A-Za-z_]\w*', k):
                    raise ChError(f'Code: 115. DB::Exception: Unknown setting {k}. (UNKNOWN_SETTING)')
                sets.append("%s = '%s'" % (k, v.replace('\\', '\\\\').replace("'", "\\'")))
            if sets: self.q(conn, 'SET ' + ', '.join(sets))
            params = {k[6:]: v for k, v in p.items() if k.startswith('param_')}
            m = FORMAT.search(sql) if INSERT.match(sql) else None
            if m or (INSERT.match(sql) and not re.search(rb'\b(values|select|with|from)\b', sql, re.I) and (body is not None)):
                return self.insert(conn, sql, m, body)
            if body is not None:                            # query= plus body: concatenated, as the server does
                sql = sql + (b'\n' if sql else b'') + b''.join(body)
            self.select(conn, sql.decode('utf-8', 'surrogateescape'), p, params)
        finally:
            done()

    @staticmethod
    def q(conn, sql, fmt='TabSeparated', params=None):
        try: return conn.query(sql, fmt, params=params or {})
        except Exception as e: raise ChError(e)

    def insert(self, conn, sql, m, body):
        fmt = m.group(1).decode() if m else 'Values'
        stmt = sql[:m.start()] if m else sql
        tail = sql[m.end():] if m else b''
        with os.fdopen(os.memfd_create('insert'), 'wb', buffering=0) as f:   # no disk between the two
            if tail: f.write(tail)
            for c in body or (): f.write(c)
            sql = "%s FROM INFILE '/proc/self/fd/%d' FORMAT %s" % (stmt.decode(), f.fileno(), fmt)
            r = conn_raw(conn, sql, 'TabSeparated', {})
        n = (r.rows_written(), r.bytes_written())
        self.plain(b'', [summary(*n, *n, *n, r.elapsed())])

    def whole(self, r, fmt):
        self.plain(r.bytes(), [summary(r.storage_rows_read() or r.rows_read(), r.storage_bytes_read() or r.bytes_read(),
                   r.rows_written(), r.bytes_written(), r.rows_read(), r.bytes_read(), r.elapsed())], fmt)

    def select(self, conn, sql, p, params):
        fmt = p.get('default_format') or self.headers.get('X-ClickHouse-Format') or 'TabSeparated'
        if not sql.strip(): raise ChError('Code: 62. DB::Exception: Syntax error: Empty query. (SYNTAX_ERROR)')
        cls = conn._conn.classify_query(sql) if hasattr(conn, '_conn') else {}
        if cls.get('statement_count', 1) > 1:
            raise ChError('Code: 62. DB::Exception: Syntax error (Multi-statements are not allowed). (SYNTAX_ERROR)')
        mfmt = FORMAT.search(sql.encode('utf-8', 'surrogateescape'))
        name = mfmt.group(1).decode() if mfmt else fmt
        if str(cls.get('query_class', '')).rsplit('.')[-1] != 'READ_ONLY':
            return self.whole(conn_raw(conn, sql, fmt, params), name)
        if p.get('wait_end_of_query') == '1' or ARGS.no_stream or name.lower() not in STREAM:
            return self.whole(conn_raw(conn, sql, fmt, params), name)
        started, tag = False, secrets.token_hex(8)
        try:
            st = conn.send_query(sql, fmt, params=params)
            for part in st:
                d = part.bytes()
                if name.lower() == 'rowbinarywithnamesandtypes':
                    if not started: skip = rb_header(d)
                    else: d = d[skip:]
                if not d: continue
                if not started:
                    self.head(200, 'application/octet-stream', name, None, [('X-ClickHouse-Exception-Tag', tag), summary()])
                    started = True
                self.wfile.write(b'%x\r\n' % len(d)); self.wfile.write(d); self.wfile.write(b'\r\n')
        except OSError: self.close_connection = True; return   # client went away
        except Exception as e:
            if 'Streaming query is not supported' in str(e):  # DESCRIBE, SHOW, EXPLAIN, ...
                return self.whole(conn_raw(conn, sql, fmt, params), name)
            e = ChError(e)
            if not started: raise e
            msg = (e.text + '\n').encode()
            d = b'\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n' % (tag.encode(), msg, len(msg), tag.encode())
            self.wfile.write(b'%x\r\n%s\r\n0\r\n\r\n' % (len(d), d)); return
        if not started:                                      # no rows: streaming gives no header block at all
            return self.whole(conn_raw(conn, sql, fmt, params), name)
        self.wfile.write(b'0\r\n\r\n')

    def handle_query(self):
        u = urlsplit(self.path); self.qid = str(uuid.uuid4()); self.reader = None
        if self.command == 'POST': self.reader = self.body_reader()
        if self.command in ('GET', 'HEAD') and u.path in ('/', '/ping', '/replicas_status') and 'query=' not in u.query:
            return self.plain(b'Ok.\n')
        p = dict(parse_qsl(u.query, keep_blank_values=True)); self.qid = p.get('query_id') or self.qid
        try:
            sql, body = p.get('query', '').encode('utf-8', 'surrogateescape'), None
            ctype = self.headers.get('Content-Type', '')
            if self.command == 'POST':
                if ctype.startswith('multipart/form-data'):
                    for k, v in multipart(b''.join(self.chunks(p)), ctype).items():
                        if k == 'query': sql += v
                        else: p[k] = v.decode('utf-8', 'surrogateescape')
                else:
                    body = self.chunks(p)
                    if not sql: sql, body = b''.join(body), None
            self.run(p, sql, body)
        except (Aborted, ConnectionError): self.close_connection = True
        except Exception as e:
            e = e if isinstance(e, ChError) else ChError(f'{type(e).__name__}: {e}')
            try:
                for _ in self.raw(): pass                   # unread body: drain it, so keep-alive survives
                self.fail(e)
            except (Aborted, OSError): self.close_connection = True
    do_GET = do_POST = do_HEAD = handle_query

def conn_raw(conn, sql, fmt, params):
    """query() without the Python sugar, so that rows_written() and bytes() survive."""
    try: return conn._conn.query(sql, fmt, params=params or {})
    except Exception as e: raise ChError(e)

def summary(rr=0, rb=0, wr=0, wb=0, res=0, resb=0, elapsed=0.0):
    d = dict(read_rows=rr, read_bytes=rb, written_rows=wr, written_bytes=wb, total_rows_to_read=rr,
             result_rows=res, result_bytes=resb, elapsed_ns=int(elapsed * 1e9))
    return 'X-ClickHouse-Summary', json.dumps({k: str(v) for k, v in d.items()}, separators=(',', ':'))

def rb_header(d):
    def varint(i):
        v = s = 0
        while True:
            b = d[i]; v |= (b & 127) << s; i += 1; s += 7
            if b < 128: return v, i
    n, i = varint(0)
    for _ in range(2 * n):
        k, i = varint(i); i += k
    return i

def multipart(body, ctype):
    b = b'--' + re.search(r'boundary="?([^";]+)', ctype).group(1).encode()
    out = {}
    for part in body.split(b)[1:-1]:
        h, _, v = part[2:].partition(b'\r\n\r\n')
        out[re.search(rb'name="([^"]*)"', h).group(1).decode()] = v[:-2]
    return out

class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size, allow_reuse_address = True, 128, True
    def handle_error(self, request, addr):
        if not isinstance(sys.exc_info()[1], OSError): super().handle_error(request, addr)

def main():
    global ARGS, KEEP
    a = argparse.ArgumentParser()
    a.add_argument('--path', default=':memory:'); a.add_argument('--host', default='127.0.0.1')
    a.add_argument('--port', type=int, default=0); a.add_argument('--port-file')
    a.add_argument('--user'); a.add_argument('--password', default='')
    a.add_argument('--no-stream', action='store_true'); a.add_argument('-v', '--verbose', action='store_true')
    a.add_argument('--parent', type=int, help='end when this process does')
    ARGS = a.parse_args()
    if ARGS.parent:
        def watch():
            while os.getppid() == ARGS.parent: time.sleep(0.5)
            os._exit(1)
        threading.Thread(target=watch, daemon=True).start()
    KEEP = chdb.connect(ARGS.path)
    srv = Server((ARGS.host, ARGS.port), Handler)
    port = srv.server_address[1]
    if ARGS.port_file:
        with open(ARGS.port_file + '.tmp', 'w') as f: f.write(str(port))
        os.replace(ARGS.port_file + '.tmp', ARGS.port_file)
    print('READY', port, chdb.engine_version, flush=True)
    try: srv.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt: pass

if __name__ == '__main__': main()
