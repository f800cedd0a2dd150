--- Ghost text by our own means, for Neovim 0.11.
local client = require("qcn.client")
local config = require("qcn.config")
local ghost = require("qcn.ghost")
local items = require("qcn.item")
local request = require("qcn.request")
local text = require("qcn.text")

local M = {}

local item -- what is shown

local function is_typing()
  return vim.api.nvim_get_mode().mode:sub(1, 1) == "i" and vim.fn.pumvisible() == 0
end

local function show(rest)
  local row, column = text.cursor()
  ghost.show(item.buf, row, column, rest)
end

local function hide()
  if item then
    ghost.hide(item.buf)
    item = nil
  end
end

local function arrived(answer, server)
  local made = is_typing() and items.new(answer, server)
  local rest = made and items.rest(made)
  if rest then
    hide()
    item = made
    show(rest)
  end
end

-- What a key would accept now, as the buffer is now and not as it was at the last event; nil when there is nothing.
local function remaining()
  return item and is_typing() and items.rest(item) or nil
end

--- After each change of text, mode or cursor: keep what still holds, hide the rest, and ask for more if `may_ask`.
function M.update(may_ask)
  local rest = remaining()
  if rest then
    return show(rest)
  end
  hide()
  local server = config.current.enabled and is_typing() and client.offering(0)
  if server and may_ask then
    request.ask(server, false, arrived)
  else
    request.cancel_elsewhere()
  end
end

--- Ask although nothing was typed.
function M.invoke()
  local server = is_typing() and client.offering(0)
  if server then
    request.ask(server, true, arrived)
  end
end

--- Show nothing, wait for nothing.
function M.clear()
  hide()
  request.cancel()
end

--- Put the next "all", "line" or "word" of the suggestion in; false when there is nothing to accept.
function M.accept(kind)
  local rest, accepted = remaining(), item
  if not rest then
    return false
  end
  local chunk = text.take(kind, rest)
  text.insert(chunk)
  if #chunk < #rest then
    show(rest:sub(#chunk + 1))
    return true
  end
  hide()
  local server = vim.lsp.get_client_by_id(accepted.client_id)
  if server and accepted.command then
    server:exec_cmd(accepted.command, { bufnr = accepted.buf }, function() end)
  end
  return true
end

--- Follow the editor's events; `group` is the autocommand group.
function M.start(group)
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, callback = callback })
  end
  on({ "InsertEnter", "TextChangedI" }, function(event)
    -- The mode changes after InsertEnter.
    if event.event == "InsertEnter" then
      return vim.schedule(function()
        M.update(true)
      end)
    end
    M.update(true)
  end)
  on({ "CursorMovedI", "TextChangedP", "CompleteChanged" }, function()
    M.update(false)
  end)
  on({ "InsertLeave", "BufLeave" }, M.clear)
end

--- Nothing to prepare: one suggestion for whatever buffer is typed in.
function M.attach() end

--- After `enabled` has changed.
function M.toggled()
  M.clear()
  M.update(true)
end

return M
