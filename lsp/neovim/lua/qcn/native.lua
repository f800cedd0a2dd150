--- Neovim's own inline completion (0.12): it asks and shows, we bind keys and take words and lines.
local client = require("qcn.client")
local config = require("qcn.config")
local text = require("qcn.text")

local M = {}

--- Whether this Neovim has it.
function M.is_there()
  return vim.lsp.inline_completion ~= nil
end

--- Where an item begins; the two forms are those of two releases.
local function begin(range)
  if range.start then
    return range.start.row, range.start.col
  end
  return range.start_row, range.start_col
end

local function rest(item)
  local whole = type(item.insert_text) == "table" and item.insert_text.value or item.insert_text
  if not item.range then
    return whole
  end
  local first_row, first_column = begin(item.range)
  local row, column = text.cursor()
  local typed = table.concat(vim.api.nvim_buf_get_text(0, first_row, first_column, row, column, {}), "\n")
  return vim.startswith(whole, typed) and whole:sub(#typed + 1) or ""
end

--- Accept, as soon as the mapping returns, the next "all", "line" or "word"; false when there is nothing to accept.
function M.accept(kind)
  local on_accept = kind ~= "all" and function(item)
    local chunk = text.take(kind, rest(item))
    if chunk ~= "" then
      text.insert(chunk)
    end
  end or nil
  return vim.lsp.inline_completion.get({ on_accept = on_accept })
end

--- Have it ask for a buffer.
function M.attach(buf)
  vim.lsp.inline_completion.enable(config.current.enabled, { bufnr = buf })
end

--- After `enabled` has changed.
function M.toggled()
  for _, server in ipairs(vim.lsp.get_clients({ name = client.NAME })) do
    for buf in pairs(server.attached_buffers) do
      M.attach(buf)
    end
  end
end

--- Ask although nothing was typed.
function M.invoke()
  vim.lsp.inline_completion.get()
end

--- It follows the editor's events itself.
function M.start() end

return M
