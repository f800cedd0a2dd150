--- The language client: one `qcn-agent lsp` for each root folder.
local config = require("qcn.config")

local M = {}

M.NAME = "qcn"
M.METHOD = "textDocument/inlineCompletion"

local function wants(buf)
  if not vim.api.nvim_buf_is_loaded(buf) or vim.bo[buf].buftype ~= "" or vim.api.nvim_buf_get_name(buf) == "" then
    return false
  end
  local filetypes, filetype = config.current.filetypes, vim.bo[buf].filetype
  return filetype ~= "" and (filetypes == nil or vim.tbl_contains(filetypes, filetype))
end

--- Start or reuse the client of a buffer's root, if the buffer is one for us.
function M.attach(buf)
  if not wants(buf) then
    return
  end
  vim.lsp.start({
    name = M.NAME,
    cmd = config.current.cmd,
    cmd_env = config.current.cmd_env,
    root_dir = vim.fs.root(buf, config.current.root_markers),
    capabilities = { textDocument = { inlineCompletion = { dynamicRegistration = false } } },
    flags = { debounce_text_changes = 0 }, -- the server tells an accepted word from typed text by its changes
    handlers = { ["workspace/applyEdit"] = require("qcn.preview").apply },
  }, { bufnr = buf })
end

--- The client of a buffer, nil when there is none or its server is not ready.
function M.of(buf)
  local client = vim.lsp.get_clients({ bufnr = buf, name = M.NAME })[1]
  return client and client.initialized and client or nil
end

--- The same, nil as well where the server offers no ghost text.
function M.offering(buf)
  local client = M.of(buf)
  return client and client.server_capabilities.inlineCompletionProvider and client or nil
end

return M
