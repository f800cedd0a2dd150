--- The language client: one `qcn-agent lsp` for each root folder.
local config = require("qcn.config")
local trust = require("qcn.trust")

local M = {}

M.NAME = "qcn"
M.METHOD = "textDocument/inlineCompletion"

local MAX_ENDS, WITHIN_S = 3, 180 -- a server that ends more often of itself is not started again
local KILLED = 15 -- the signal with which Neovim itself ends a server

local ends = {} -- when, in seconds

-- To LSP a carriage return ends a line, to Vim it does not: places would not be the same at both ends.
local function has_carriage_return(buf)
  return vim.iter(vim.api.nvim_buf_get_lines(buf, 0, -1, false)):any(function(line)
    return line:find("\r", 1, true) ~= nil
  end)
end

local function wants(buf)
  if not vim.api.nvim_buf_is_loaded(buf) or vim.bo[buf].buftype ~= "" or vim.api.nvim_buf_get_name(buf) == "" then
    return false
  end
  local filetypes, filetype = config.current.filetypes, vim.bo[buf].filetype
  local is_listed = filetype ~= "" and (filetypes == nil or vim.tbl_contains(filetypes, filetype))
  return is_listed and not has_carriage_return(buf)
end

--- The root folder of a buffer; nil when it has none.
function M.root(buf)
  return vim.fs.root(buf, config.current.root_markers)
end

local function warn_once(text, about)
  vim.notify_once(text:format(about), vim.log.levels.WARN)
end

-- What to start for a root, the program with its whole path; nil, and the user hears why, when there is nothing.
local function command(root)
  local cmd = vim.deepcopy(config.current.cmd)
  local program = vim.fn.exepath(cmd[1])
  if program == "" then
    return warn_once("qcn: `%s` can't be run; see `:checkhealth qcn`", cmd[1])
  elseif trust.bars(root, program) then
    return warn_once("qcn: %s is in a folder that you do not trust; see `:help qcn-trust`", program)
  end
  cmd[1] = program
  return cmd
end

local function is_too_often()
  local now = vim.uv.now() / 1000
  ends = vim.tbl_filter(function(at)
    return now - at < WITHIN_S
  end, ends)
  ends[#ends + 1] = now
  return #ends >= MAX_ENDS
end

-- A server has ended. Nobody has told it to: the next one takes its buffers over.
local function ended(code, signal, id)
  local client = vim.lsp.get_client_by_id(id)
  local was_told = (code == 0 and signal == 0) or signal == KILLED or vim.v.exiting ~= vim.NIL
  if was_told or not client or not client.initialized then
    return -- one that never began would end the same way
  end
  local bufs = vim.tbl_keys(client.attached_buffers)
  vim.schedule(function()
    if is_too_often() then
      return vim.notify("qcn: `qcn-agent lsp` ends again and again; see `:checkhealth qcn`", vim.log.levels.ERROR)
    end
    vim.iter(bufs):each(M.attach)
  end)
end

--- Let go of a buffer.
function M.detach(buf)
  for _, client in ipairs(vim.lsp.get_clients({ bufnr = buf, name = M.NAME })) do
    vim.lsp.buf_detach_client(buf, client.id)
  end
end

--- Start or reuse the client of a buffer's root, if the buffer is one for us; if it is no more, let go of it.
function M.attach(buf)
  if not wants(buf) then
    return M.detach(buf)
  end
  local root = M.root(buf)
  local cmd = command(root)
  if not cmd then
    return
  end
  vim.lsp.start({
    name = M.NAME,
    cmd = cmd,
    cmd_cwd = vim.uv.os_homedir(), -- a folder that is open is nothing to start a program in
    cmd_env = config.current.cmd_env,
    root_dir = root,
    init_options = { qcnTrusted = trust.has(root) },
    capabilities = { textDocument = { inlineCompletion = { dynamicRegistration = false } } },
    flags = { debounce_text_changes = 0 }, -- the server tells an accepted word from typed text by its changes
    on_exit = ended,
    handlers = { ["workspace/applyEdit"] = require("qcn.preview").apply },
  }, { bufnr = buf })
end

--- The client of a buffer, nil when there is none or its server is not ready.
function M.of(buf)
  local clients = vim.lsp.get_clients({ bufnr = buf, name = M.NAME })
  return vim.iter(clients):find(function(client)
    return not client:is_stopped()
  end)
end

--- Whether a client's server may run what is in its folder.
function M.is_trusted(client)
  return client.config.init_options.qcnTrusted
end

--- Start a server anew: the settings and the folder's trust are as they are now.
function M.restart(client)
  local bufs = vim.tbl_keys(client.attached_buffers)
  client:stop()
  vim.iter(bufs):each(M.attach)
end

--- The same, nil as well where the server offers no ghost text.
function M.offering(buf)
  local client = M.of(buf)
  return client and client.server_capabilities.inlineCompletionProvider and client or nil
end

return M
