--- `:checkhealth qcn`
local client = require("qcn.client")
local config = require("qcn.config")
local native = require("qcn.native")
local status = require("qcn.status")

local M = {}

local ANSWER_MS = 2000

local function check_editor()
  vim.health.start("qcn: Neovim")
  local version = tostring(vim.version())
  if vim.fn.has("nvim-0.11") == 0 then
    return vim.health.error(version .. " is too old", "Neovim 0.11 or newer is needed")
  end
  vim.health.ok(version)
  local shows = require("qcn").display() == native and "Neovim's own" or "this plugin's"
  vim.health.info(("ghost text is %s, and %s"):format(shows, config.current.enabled and "on" or "off (`:QcnToggle`)"))
end

local function check_command()
  vim.health.start("qcn: the command")
  local name = config.current.cmd[1]
  local path = vim.fn.exepath(name)
  if path == "" then
    vim.health.error(("`%s` can't be run"):format(name), "install qcn-agent, or give its path as `cmd` in setup()")
  else
    vim.health.ok(path)
  end
end

local function check_server(server)
  local answer = server:request_sync("qcn/status", vim.empty_dict(), ANSWER_MS)
  if answer and answer.result then
    for _, line in ipairs(status.lines(answer.result)) do
      vim.health.info(line)
    end
    vim.health.ok(("the daemon answers for %s"):format(server.root_dir or "single files"))
  else
    local reason = answer and answer.err and answer.err.message or ("no answer in %d ms"):format(ANSWER_MS)
    vim.health.warn("the daemon does not answer: " .. reason, "`qcn-agent status` in a terminal says more")
  end
  vim.health.info(status.trust(server) .. ", see |qcn-trust|")
  if not server.server_capabilities.inlineCompletionProvider then
    vim.health.warn("the server offers no ghost text", "is it of the same version as the plugin?")
  end
end

--- Called by `:checkhealth`.
function M.check()
  check_editor()
  check_command()
  vim.health.start("qcn: servers")
  local servers = vim.lsp.get_clients({ name = client.NAME })
  if #servers == 0 then
    vim.health.warn("none is running", "call require('qcn').setup{} and open a file")
  end
  vim.iter(servers):each(check_server)
end

return M
