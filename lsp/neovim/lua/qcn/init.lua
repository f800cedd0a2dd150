--- qcn-agent in Neovim. See `:help qcn`.
local client = require("qcn.client")
local config = require("qcn.config")

local M = {}

local KINDS = { accept = "all", accept_word = "word", accept_line = "line" }

--- The module that shows ghost text: `qcn.native` or `qcn.inline`.
function M.display()
  local native = require("qcn.native")
  local wants_native = config.current.native ~= false and native.is_there()
  return wants_native and native or require("qcn.inline")
end

local function attached(buf)
  local display = M.display()
  display.attach(buf)
  for setting, kind in pairs(KINDS) do
    local key = config.current[setting]
    if key then
      require("qcn.keys").bind(buf, key, function()
        return display.accept(kind)
      end, "qcn: accept " .. kind)
    end
  end
end

local function follow(group)
  local function on(events, act)
    vim.api.nvim_create_autocmd(events, {
      group = group,
      callback = function(event)
        act(event.buf)
      end,
    })
  end
  on("BufFilePre", client.detach)
  on({ "FileType", "BufFilePost" }, client.attach)
  vim.api.nvim_create_autocmd("LspAttach", {
    group = group,
    callback = function(event)
      local server = vim.lsp.get_client_by_id(event.data.client_id)
      if server and server.name == client.NAME then
        attached(event.buf)
      end
    end,
  })
end

--- Start. `given` are settings as in `:help qcn-settings`.
function M.setup(given)
  config.set(given)
  vim.api.nvim_set_hl(0, require("qcn.ghost").GROUP, { default = true, link = "Comment" })
  local group = vim.api.nvim_create_augroup("qcn", { clear = true })
  follow(group)
  M.display().start(group)
  vim.iter(vim.api.nvim_list_bufs()):each(client.attach)
end

--- Ghost text on or off, for all buffers; returns whether it is on.
function M.toggle()
  config.current.enabled = not config.current.enabled
  M.display().toggled()
  vim.notify("qcn: ghost text is " .. (config.current.enabled and "on" or "off"))
  return config.current.enabled
end

--- Have the user decide on the root of this buffer anew, or, `is_withdrawn`, trust it no more.
function M.trust(is_withdrawn)
  local root, trust = client.root(0), require("qcn.trust")
  if not root then
    return vim.notify("qcn: this file has no root folder", vim.log.levels.WARN)
  end
  trust.forget(root)
  local is_trusted = not is_withdrawn and trust.ask(root) or trust.has(root)
  local server = client.of(0)
  if server and client.is_trusted(server) ~= is_trusted then
    client.restart(server)
  elseif not server then
    client.attach(vim.api.nvim_get_current_buf())
  end
  vim.notify(("qcn: %s is %strusted"):format(root, is_trusted and "" or "not "))
end

--- Ask for a suggestion at the cursor now. For a key of insert mode.
function M.complete()
  M.display().invoke()
end

--- For a statusline.
function M.statusline()
  return require("qcn.status").line()
end

return M
