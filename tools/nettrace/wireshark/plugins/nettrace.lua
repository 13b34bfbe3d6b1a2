-- Wireshark: show the kernel's trace events between the captured frames.
--
-- Reads the USER0 packets that `nettrace merge` writes.  Everything it knows of
-- events comes from the metadata text, read when this file is loaded, because
-- Wireshark takes new fields only then: $NETTRACE_META, else nettrace.meta in the
-- configuration directory (`nettrace wireshark` puts it there).
--
-- Runs on Lua 5.1 to 5.4: no bit library, no //, bits by %.

local FIRST = 16       -- bytes before the slots
local PAYLOAD = 24     -- where a record's fields begin in its first slot
local SLOT = 64
local CONT = 16        -- where a continuation's payload begins

local ctx_names = {[0] = "thread", [1] = "intr", [2] = "netd", [3] = "timer", [4] = "nested"}

-- ---- metadata -----------------------------------------------------------

local events, sets, meta_text = {}, {}, nil

local function open_meta()
  local path = os.getenv("NETTRACE_META")
  if path and path ~= "" then
    return io.open(path, "rb")
  end
  if Dir and Dir.personal_config_path then
    return io.open(Dir.personal_config_path("nettrace.meta"), "rb")
  end
  return nil
end

-- FNV-1a over the text, as the guest computes it, without 32-bit operators.
local function fnv1a(text)
  local h = 2166136261
  for i = 1, #text do
    local b = text:byte(i)
    local low, out, p = h % 256, 0, 1
    for _ = 1, 8 do -- xor of the low byte
      if low % 2 ~= b % 2 then out = out + p end
      low, b, p = (low - low % 2) / 2, (b - b % 2) / 2, p * 2
    end
    h = h - h % 256 + out
    -- times 16777619 = 2^24 + 403, modulo 2^32
    h = ((h % 256) * 16777216 + h * 403) % 4294967296
  end
  return h
end

local sizes = {u8 = 1, u16 = 2, u32 = 4, u64 = 8, s16 = 2, s32 = 4, mac6 = 6, name16 = 16}

local function parse_line(line, current)
  local kind, set, value, name = line:match("^(%a+) (%S+) (%S+) (%S+)")
  if kind == "name" or kind == "bits" then
    sets[set] = sets[set] or {bits = kind == "bits", values = {}, list = {}}
    sets[set].values[tonumber(value)] = name
    table.insert(sets[set].list, {tonumber(value), name})
  elseif kind == "event" then
    local doc = line:match("^event %S+ %S+ %S+ (.*)$")
    current = {id = tonumber(set), name = value, stage = name, doc = doc or "", fields = {}, size = 0}
    events[current.id] = current
  elseif line:sub(1, 1) == "\t" and current then
    local ftype, fname, unit, doc = line:match("^\t(%S+) (%S+) (%S+) ?(.*)$")
    if ftype then
      table.insert(current.fields, {type = ftype, name = fname, unit = unit, doc = doc, off = current.size})
      current.size = current.size + (sizes[ftype] or 0)
    end
  end
  return current
end

local function read_meta()
  local f = open_meta()
  if not f then
    return
  end
  meta_text = f:read("*a")
  f:close()
  local current
  for line in meta_text:gmatch("([^\n]*)\n") do
    current = parse_line(line, current)
  end
end

read_meta()

-- ---- fields ---------------------------------------------------------------

local proto = Proto("nettrace", "xv6 kernel trace")
local pf = {
  event = ProtoField.string("nettrace.event", "Event"),
  stage = ProtoField.string("nettrace.stage", "Stage"),
  cpu = ProtoField.uint8("nettrace.cpu", "CPU"),
  ctx = ProtoField.string("nettrace.ctx", "Context"),
  seq = ProtoField.uint32("nettrace.seq", "Slot number"),
  pid = ProtoField.uint16("nettrace.pid", "Process"),
  pkt = ProtoField.uint32("nettrace.pkt", "Packet"),
  sock = ProtoField.uint16("nettrace.sock", "Socket"),
  tsc = ProtoField.uint64("nettrace.tsc", "TSC"),
  flow = ProtoField.string("nettrace.flow", "Flow"),
  stream = ProtoField.uint32("nettrace.stream", "TCP stream"),
  lost = ProtoField.uint32("nettrace.lost", "Slots lost before"),
  band = ProtoField.uint32("nettrace.band", "Time known to +- ns"),
  frame = ProtoField.framenum("nettrace.frame", "Frame on the wire"),
  meta = ProtoField.string("nettrace.meta", "Metadata"),
}
-- The plain filters tcp.stream and ip.addr shall find events too.
local tcp_stream = ProtoField.uint32("tcp.stream", "Stream index (of the flow)")
local ip_addr = ProtoField.ipv4("ip.addr", "Address (of the flow)")

local function make_field(e, f)
  local abbrev = "nettrace." .. e.name .. "." .. f.name
  local set = sets[f.unit]
  local names = set and not set.bits and set.values or nil
  local base = (f.unit == "hex" or f.unit == "addr" or (set and set.bits)) and base.HEX or base.DEC
  local title = f.doc ~= "" and f.name .. " (" .. f.doc .. ")" or f.name
  if f.unit == "ipv4" and f.type == "u32" then return ProtoField.ipv4(abbrev, title) end
  if f.type == "u8" then return ProtoField.uint8(abbrev, title, base, names) end
  if f.type == "u16" then return ProtoField.uint16(abbrev, title, base, names) end
  if f.type == "u32" then return ProtoField.uint32(abbrev, title, base, names) end
  if f.type == "u64" then return ProtoField.uint64(abbrev, title, base) end
  if f.type == "s16" then return ProtoField.int16(abbrev, title) end
  if f.type == "s32" then return ProtoField.int32(abbrev, title) end
  if f.type == "mac6" then return ProtoField.ether(abbrev, title) end
  if f.type == "bytes" then return ProtoField.bytes(abbrev, title) end
  return ProtoField.string(abbrev, title)
end

local all = {}
for _, f in pairs(pf) do
  table.insert(all, f)
end
table.insert(all, tcp_stream)
table.insert(all, ip_addr)
for _, e in pairs(events) do
  for _, f in ipairs(e.fields) do
    f.pf = make_field(e, f)
    table.insert(all, f.pf)
  end
end
proto.fields = all

local ef_lost = ProtoExpert.new("nettrace.lost.expert", "Records were lost here", expert.group.SEQUENCE, expert.severity.WARN)
local ef_meta = ProtoExpert.new("nettrace.meta.expert", "Metadata of another kernel: fields may be wrong", expert.group.MALFORMED, expert.severity.ERROR)
local ef_none = ProtoExpert.new("nettrace.nometa.expert", "No metadata: set NETTRACE_META or use nettrace wireshark", expert.group.UNDECODED, expert.severity.WARN)
proto.experts = {ef_lost, ef_meta, ef_none}
proto.prefs.mix = Pref.bool("Let tcp.stream and ip.addr find events", true, "Events of a connection match the filters that match its frames")

-- ---- what the frames tell -----------------------------------------------------

local stream_of_flow, stream_of_frame, stream_of_pkt = {}, {}, {}

function proto.init()
  stream_of_flow, stream_of_frame, stream_of_pkt = {}, {}, {}
end

local x_stream, x_src, x_dst = Field.new("tcp.stream"), Field.new("ip.src"), Field.new("ip.dst")
local x_sport, x_dport = Field.new("tcp.srcport"), Field.new("tcp.dstport")
local x_comment = Field.new("frame.comment")

local post = Proto("nettrace_streams", "xv6 kernel trace: learn streams")

-- A frame is the packet that its comment, written by nettrace merge, names: so
-- nettrace.pkt finds it together with its events.
local function add_packet(tree)
  local comment = x_comment()
  local pkt = comment and tostring(comment.value):match("%(packet #(%d+),")
  if pkt then
    tree:add(pf.pkt, tonumber(pkt)):set_generated()
  end
end

-- Note which tcp.stream a frame and its addresses have.
function post.dissector(_, pinfo, tree)
  add_packet(tree)
  local src, dst, sport, dport = x_src(), x_dst(), x_sport(), x_dport()
  if not (src and dst and sport and dport) then
    return
  end
  local stream = x_stream()
  if not stream then
    return
  end
  local a = tostring(src.value) .. ":" .. tostring(sport.value)
  local b = tostring(dst.value) .. ":" .. tostring(dport.value)
  stream_of_flow[a .. "-" .. b] = stream.value
  stream_of_flow[b .. "-" .. a] = stream.value
  stream_of_frame[pinfo.number] = stream.value
end
register_postdissector(post)

-- ---- records --------------------------------------------------------------------

local function bits_text(set, v)
  local out, rest = {}, v
  for _, b in ipairs(set.list) do
    local mask = b[1]
    if mask > 0 and v % (mask * 2) >= mask then
      table.insert(out, b[2])
      rest = rest - mask
    end
  end
  if rest ~= 0 or #out == 0 then
    table.insert(out, string.format("0x%x", rest))
  end
  return table.concat(out, ",")
end

-- A text's bytes: the rest of the first slot, then the continuations.
local function gather(buf, off, nsl)
  local raw = buf(FIRST + PAYLOAD + off, SLOT - PAYLOAD - off):bytes()
  for i = 1, nsl - 1 do
    raw = raw .. buf(FIRST + i * SLOT + CONT, SLOT - CONT):bytes()
  end
  local text = {}
  for i = 0, raw:len() - 1 do
    local c = raw:get_index(i)
    if c == 0 then
      break
    end
    table.insert(text, c >= 32 and c < 127 and string.char(c) or string.format("\\x%02x", c))
  end
  return table.concat(text)
end

local function number_text(f, v)
  local set = sets[f.unit]
  if set and set.bits then
    return bits_text(set, v)
  end
  if set and set.values[v] then
    return set.values[v]
  end
  if f.unit == "hex" or f.unit == "addr" then
    return string.format("0x%x", v)
  end
  return string.format("%d", v)
end

-- Add one field to the tree; returns its value as text.
local function add_field(tree, buf, f, nsl)
  local size = sizes[f.type]
  if not size then
    local text = gather(buf, f.off, nsl)
    tree:add(f.pf, buf(FIRST + PAYLOAD + f.off), text)
    return '"' .. text .. '"'
  end
  local r = buf(FIRST + PAYLOAD + f.off, size)
  if f.type == "name16" then
    local text = r:stringz()
    tree:add(f.pf, r, text)
    return text
  end
  if f.type == "mac6" then
    tree:add(f.pf, r)
    return tostring(r:ether())
  end
  local item = tree:add_le(f.pf, r)
  if f.unit == "ipv4" then
    return tostring(r:le_ipv4())
  end
  if f.type == "u64" then
    return tostring(r:le_uint64())
  end
  local v = (f.type == "s16" or f.type == "s32") and r:le_int() or r:le_uint()
  local text = number_text(f, v)
  if sets[f.unit] and sets[f.unit].bits then
    item:append_text(" " .. text)
  end
  return text
end

-- The connection that a record's fields name, as "addr:port-addr:port".
local function flow_of(buf, e)
  local at = {}
  for _, f in ipairs(e.fields) do
    at[f.name] = buf(FIRST + PAYLOAD + f.off, sizes[f.type] or 1)
  end
  if not (at.laddr and at.raddr and at.lport and at.rport) then
    return nil
  end
  return tostring(at.laddr:le_ipv4()) .. ":" .. at.lport:le_uint() .. "-" .. tostring(at.raddr:le_ipv4()) .. ":" .. at.rport:le_uint(), at
end

local function add_stream(tree, buf, e, frame, pkt)
  local flow, at = flow_of(buf, e)
  if flow then
    tree:add(pf.flow, flow):set_generated()
    if proto.prefs.mix then
      tree:add_le(ip_addr, at.laddr):set_hidden()
      tree:add_le(ip_addr, at.raddr):set_hidden()
    end
  end
  local whose = buf(2, 2):le_uint() * 4294967296 + pkt -- each machine, each boot counts its own packets
  local stream = stream_of_frame[frame] or (flow and stream_of_flow[flow]) or stream_of_pkt[whose]
  if not stream then
    return
  end
  if pkt ~= 0 then
    stream_of_pkt[whose] = stream
  end
  tree:add(pf.stream, stream):set_generated()
  if proto.prefs.mix then
    tree:add(tcp_stream, stream):set_generated()
  end
end

local function dissect_event(buf, pinfo, tree)
  local s = FIRST
  local id, cpu_ctx, nsl = buf(s + 8, 2):le_uint(), buf(s + 10, 1):uint(), buf(s + 11, 1):uint()
  local e = events[id] or {name = "event " .. id, stage = "", doc = "", fields = {}}
  local frame, lost, pkt = buf(4, 4):le_uint(), buf(8, 4):le_uint(), buf(s + 16, 4):le_uint()
  tree:add(pf.event, buf(s + 8, 2), e.name):append_text(e.doc ~= "" and " (" .. e.doc .. ")" or "")
  tree:add(pf.stage, buf(s + 8, 2), e.stage)
  tree:add(pf.cpu, buf(s + 10, 1), cpu_ctx % 16)
  tree:add(pf.ctx, buf(s + 10, 1), ctx_names[(cpu_ctx - cpu_ctx % 16) / 16] or "?")
  tree:add_le(pf.seq, buf(s + 12, 4))
  tree:add_le(pf.tsc, buf(s, 8))
  tree:add_le(pf.pid, buf(s + 22, 2))
  tree:add_le(pf.band, buf(12, 4))
  if pkt ~= 0 then tree:add_le(pf.pkt, buf(s + 16, 4)) end
  if buf(s + 20, 2):le_uint() ~= 0 then tree:add_le(pf.sock, buf(s + 20, 2)) end
  if frame ~= 0 then tree:add(pf.frame, buf(4, 4), frame) end
  if lost ~= 0 then
    tree:add_le(pf.lost, buf(8, 4))
    tree:add_proto_expert_info(ef_lost, lost .. " slots lost before this record")
  end
  local words = {}
  for _, f in ipairs(e.fields) do
    table.insert(words, f.name .. "=" .. add_field(tree, buf, f, nsl))
  end
  add_stream(tree, buf, e, frame, pkt)
  if meta_text == nil then
    tree:add_proto_expert_info(ef_none)
  end
  pinfo.cols.protocol = e.stage ~= "" and e.stage or "TRACE"
  pinfo.cols.info = e.name .. (pkt ~= 0 and " #" .. pkt or "") .. " " .. table.concat(words, " ")
end

local function dissect_meta(buf, pinfo, tree)
  local text = buf:raw(FIRST, buf:len() - FIRST)
  tree:add(pf.meta, buf(FIRST), "description of events, " .. #text .. " bytes")
  pinfo.cols.protocol = "TRACE"
  pinfo.cols.info = "description of the events that follow"
  if meta_text and fnv1a(meta_text) ~= fnv1a(text) then
    tree:add_proto_expert_info(ef_meta)
    pinfo.cols.info = "description of the events that follow: NOT the one this plugin has loaded"
  end
end

function proto.dissector(buf, pinfo, root)
  if buf:len() < FIRST or buf(0, 1):uint() ~= 1 then
    return 0
  end
  local tree = root:add(proto, buf())
  if buf(1, 1):uint() == 1 then
    dissect_meta(buf, pinfo, tree)
  elseif buf:len() >= FIRST + SLOT then
    dissect_event(buf, pinfo, tree)
  end
  return buf:len()
end

DissectorTable.get("wtap_encap"):add(wtap.USER0, proto)
